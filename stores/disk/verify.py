"""Whether everything that a store promises holds: every checksum, every cross-reference."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk import catalog
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.library import CODECS, SEGMENTS, codec_hash
from attar.stores.disk.seal import check_seal, read_seal
from attar.stores.disk.segment import Segment
from attar.stores.disk.texts import COPIES, Texts
from attar.stores.errors import NotAStoreError, StoreError
from attar.stores.exact import EXACT
from attar.stores.filters.attributes import attributes
from attar.stores.snapshot import SLOT

_MOST_NAMED = 20


@dataclass(frozen=True)
class Report:
    """What `verify` found. `problems` is empty when the store is whole."""

    documents: int
    segments: int
    nbytes: int
    problems: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass
class _Findings:
    documents: int = 0
    segments: int = 0
    nbytes: int = 0
    problems: list[str] = field(default_factory=list)

    def report(self) -> Report:
        return Report(self.documents, self.segments, self.nbytes, tuple(self.problems))


def verify(folder: Path) -> Report:
    """Read everything and compare it; changes nothing, works beside a writer.

    Raises NotAStoreError for a folder that is not a store, and nothing for a broken one.
    """
    findings = _Findings()
    try:
        connection = catalog.connect(folder, write=False)
    except NotAStoreError:
        raise
    except (StoreError, sqlite3.Error) as error:
        findings.problems.append(str(error))
        return findings.report()
    try:
        with catalog.readable(folder / catalog.NAME):
            connection.execute("BEGIN")
            _verify(folder, connection, findings)
    except (StoreError, sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
        findings.problems.append(f"{type(error).__name__}: {error}")
    finally:
        connection.close()
    return findings.report()


def _verify(folder: Path, connection: sqlite3.Connection, findings: _Findings) -> None:
    findings.problems += _witness_problems(folder, connection)
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            findings.problems.append(f"{catalog.NAME}: {line}")
    meta = catalog.read_meta(connection)
    rows = catalog.read_segments(connection)
    slots = _segments(folder, rows, findings)
    findings.problems += _codec_problems(folder, connection, meta, rows)
    findings.problems += _layout_problems(rows, meta)
    findings.problems += _dictionary_problems(connection)
    findings.problems += _document_problems(connection, slots, findings)


def _witness_problems(folder: Path, connection: sqlite3.Connection) -> list[str]:
    try:
        seal = read_seal(folder)
    except StoreError as error:
        return [str(error)]
    try:
        check_seal(seal, folder / catalog.NAME, limit=None)
    except StoreError as error:
        # A writer that came in between has changed the witness first.
        return [str(error)] if read_seal(folder) == seal else []
    counter = catalog.read_meta(connection)["counter"]
    if seal.counter > counter:
        return [f"{catalog.NAME} is at commit {counter}, the store was at {seal.counter}"]
    return []


def _segments(
    folder: Path, rows: list[SegmentRow], findings: _Findings
) -> dict[str, list[NDArray[np.int64]]]:
    """Check every registered file; returns the slots of those that could be read, by kind."""
    slots: dict[str, list[NDArray[np.int64]]] = {kind: [] for kind in catalog.KINDS}
    for row in rows:
        findings.segments += 1
        findings.nbytes += row.nbytes
        try:
            segment = Segment(folder / SEGMENTS / row.file, row.nbytes, row.header_crc)
            problems = segment.verify()
            findings.problems += problems
            if not problems:
                slots[row.kind].append(_slots(row, segment, findings))
        except (StoreError, OSError) as error:
            findings.problems.append(str(error))
    return slots


def _slots(row: SegmentRow, segment: Segment, findings: _Findings) -> NDArray[np.int64]:
    if segment.rows != row.rows or segment.kind != row.kind:
        findings.problems.append(f"{row.file}: rows or kind differ from the catalog's")
    if row.dense:
        return row.first_row + np.arange(segment.rows)
    found = row.first_row + segment.array(SLOT)[:, 0].astype(np.int64)
    if (np.diff(found) <= 0).any() or found[-1] != row.last_row or found[0] != row.first_row:
        findings.problems.append(f"{row.file}: its slots are not those of the catalog")
    return found


def _codec_problems(
    folder: Path, connection: sqlite3.Connection, meta: dict[str, Any], rows: list[SegmentRow]
) -> list[str]:
    problems = []
    registered = {name for (name,) in connection.execute("SELECT hash FROM codecs")}
    wanted = {row.codec for row in rows} | ({meta["codec"]} if meta["codec"] else set())
    problems += [
        f"codec {name} is used and not registered" for name in wanted - registered - {EXACT}
    ]
    for name in sorted(registered):
        path = folder / CODECS / f"{name}.safetensors"
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif codec_hash(path.read_bytes()) != name:
            problems.append(f"{path} is not what was committed")
    return problems


def _layout_problems(rows: list[SegmentRow], meta: dict[str, Any]) -> list[str]:
    """Segments of a kind are disjoint and ascending; originals lie as the codes do."""
    problems = []
    spans = {
        kind: [(r.first_row, r.last_row, r.rows) for r in rows if r.kind == kind]
        for kind in ("codes", "originals")
    }
    for kind, some in spans.items():
        ends = [end for first, last, _ in some for end in (first, last)]
        if ends != sorted(ends) or (ends and ends[-1] >= meta["next_row"]):
            problems.append(f"the {kind} segments overlap or lie beyond the last slot")
    if meta["keep_originals"] and spans["codes"] != spans["originals"]:
        problems.append("the originals do not lie as the codes do")
    return problems


def _dictionary_problems(connection: sqlite3.Connection) -> list[str]:
    """Both copies of every dictionary are whole and the same."""
    if catalog.format_of(connection) == 1:
        return []
    copies: dict[int, list[bytes]] = {}
    for number, crc, content in connection.execute(
        "SELECT dictionary, crc, content FROM dictionaries"
    ):
        if isinstance(content, bytes) and zlib.crc32(content) == crc:
            copies.setdefault(number, []).append(content)
        else:
            copies.setdefault(number, [])
    return [
        f"a copy of dictionary {number} is not what was committed"
        for number, some in copies.items()
        if len(some) != COPIES or len(set(some)) != 1
    ]


def _document_problems(
    connection: sqlite3.Connection,
    slots: dict[str, list[NDArray[np.int64]]],
    findings: _Findings,
) -> list[str]:
    problems: list[str] = []
    if catalog.read_meta(connection)["text_index"]:
        (indexed,) = connection.execute("SELECT count(*) FROM words_docsize").fetchone()
        (there,) = connection.execute("SELECT count(*) FROM documents").fetchone()
        if indexed != there:
            problems.append(f"the full-text index has {indexed} of {there} documents")
    rows, wanted, names = [], 0, {}
    texts = Texts(connection)
    for slot, name, *stored in connection.execute("SELECT * FROM documents"):
        findings.documents += 1
        rows.append(slot)
        plain = texts.whole(name, *stored)
        if plain is None:
            problems.append(f"document {name!r:.80} (slot {slot}) is not what was committed")
            continue
        names[slot] = name
        json.loads(plain[1] or "{}")
        wanted ^= _mixed((*a, slot) for a in attributes(plain[1]))
    if wanted != _mixed(connection.execute("SELECT key, type, value, row FROM attributes")):
        problems.append("the index of metadata is not that of the documents")
    dead = [row for (row,) in connection.execute("SELECT row FROM tombstones")]
    stored = np.concatenate([np.zeros(0, np.int64), *slots["codes"]])
    live = np.setdiff1d(stored, np.array(dead, np.int64))
    documents = np.array(rows, np.int64)
    without = [names.get(slot, f"slot {slot}") for slot in np.setdiff1d(documents, live).tolist()]
    if without:
        problems.append(
            f"{len(without)} documents have no readable vector: {without[:_MOST_NAMED]}"
        )
    lost = np.setdiff1d(live, documents)
    if len(lost):
        problems.append(
            f"{len(lost)} vectors have no document: slots {lost[:_MOST_NAMED].tolist()}"
        )
    return problems


def _mixed(rows: Iterator[tuple[Any, ...]]) -> int:
    """A checksum of a set of rows that does not depend on their order."""
    mixed = 0
    for row in rows:
        digest = hashlib.blake2b(repr(row).encode(), digest_size=16).digest()
        mixed ^= int.from_bytes(digest, "big")
    return mixed
