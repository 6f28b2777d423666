"""Keeping what is whole of a broken store, and naming what is not.

1. Segments are read block by block. Rows in damaged blocks are lost, unless the store keeps
   originals and those are whole: then the codes are made again from them. The other rows of a
   damaged segment are written anew; its file goes to `quarantine/`.
2. Documents that are damaged, or whose vectors are lost, are taken out and named.
3. The index of metadata is made again; the catalog is written anew from what could be read.

A broken codec file, or a catalog whose tables of segments or settings cannot be read, is beyond
repair: there is nothing to read the codes with.
"""

import contextlib
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk import catalog
from attar.stores.disk import texts as packing
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.durable import explained, fsync_folder
from attar.stores.disk.handles import connect_file
from attar.stores.disk.library import CODECS, SEGMENTS, codec_hash
from attar.stores.disk.lock import WriterLock
from attar.stores.disk.pieces import FromOriginals, Kept, Piece, Target, write_pieces
from attar.stores.disk.segment import Segment
from attar.stores.disk.swap import remove_drafts, replace_catalog, settle
from attar.stores.errors import CorruptStoreError, StoreError, StoreLockedError
from attar.stores.exact import EXACT, ExactCodec
from attar.stores.filters.attributes import attributes
from attar.stores.hybrid import text_index
from attar.stores.protocols import Codec
from attar.stores.snapshot import SLOT, SQNORM, Part

QUARANTINE = "quarantine"


@dataclass(frozen=True)
class Repaired:
    """What `repair` did.

    lost_ids: documents that are gone, by id where it could still be read; lost_slots: the slots of
    vectors whose document could not be read. rebuilt: rows whose codes were made from originals.
    """

    kept: int
    lost_ids: tuple[str, ...]
    lost_slots: tuple[int, ...]
    rebuilt: int
    quarantined: tuple[str, ...]
    originals_dropped: bool


@dataclass
class _Work:
    """The new catalog in the making."""

    folder: Path
    meta: dict[str, Any]
    codecs: list[tuple[Any, ...]]
    rows: list[SegmentRow] = field(default_factory=list)
    slots: list[NDArray[np.int64]] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    rebuilt: int = 0
    originals_dropped: bool = False
    dictionaries: dict[int, bytes] = field(default_factory=dict)

    @property
    def counter(self) -> int:
        """Number of the commit that the repair is."""
        return int(self.meta["counter"]) + 1

    @property
    def quarantine(self) -> Path:
        """Where this repair moves what is broken."""
        return self.folder / QUARANTINE / f"{self.counter:012d}"


def repair(
    folder: Path, load_codec: Callable[[bytes], Codec] | None = None, timeout: float = 0.0
) -> Repaired:
    """Make a broken store whole again without what is lost; a whole one keeps everything.

    load_codec is needed to make codes from originals; without it such rows count as lost.
    """
    if not (folder / catalog.NAME).is_file():
        raise catalog.not_a_store(folder)
    lock = WriterLock(folder, timeout)
    try:
        with explained("Repairing", folder):
            done = _repair(folder, load_codec, timeout)
            remove_drafts(folder)
            return done
    finally:
        lock.release()


def _repair(folder: Path, load_codec: Callable[[bytes], Codec] | None, timeout: float) -> Repaired:
    connection = connect_file(folder / catalog.NAME, "rw")
    try:
        work, rows = _settings(folder, connection)
        _check_codecs(folder, rows, work.meta)
        _set_aside(work, connection, timeout)
        _mend_segments(work, rows, load_codec)
        slots = np.concatenate([np.zeros(0, np.int64), *work.slots])
        dead = _readable(connection, "SELECT row FROM tombstones WHERE row > ? ORDER BY row")
        documents, damaged = _documents(work, connection, slots, {row for (row,) in dead})
        _write_catalog(work, connection, documents, slots)
    finally:
        connection.close()
    unread = set(slots.tolist()) - {d[0] for d in documents} - {row for (row,) in dead}
    return Repaired(
        len(documents),
        tuple(sorted(damaged)),
        tuple(sorted(unread)),
        work.rebuilt,
        tuple(work.quarantined),
        work.originals_dropped,
    )


def _settings(folder: Path, connection: sqlite3.Connection) -> tuple[_Work, list[SegmentRow]]:
    try:
        meta = catalog.read_meta(connection)
        rows = catalog.read_segments(connection)
        codecs = connection.execute("SELECT * FROM codecs").fetchall()
        dictionaries = _dictionaries(connection)
        needed = ("counter", "next_row", "dim", "metric", "codec", "keep_originals")
        if any(key not in meta for key in needed):
            raise CorruptStoreError("settings are missing")
    except (sqlite3.Error, StoreError, ValueError, TypeError) as error:
        raise CorruptStoreError(
            f"The catalog of {folder} cannot say which segments it has ({error}); that is beyond "
            "repair. Restore a backup."
        ) from error
    # An upgrade under way is given up: its vectors can be made again, the old ones are all here.
    meta.pop("upgrade", None)
    rows = [row for row in rows if row.kind in ("codes", "originals")]
    return _Work(folder, meta, codecs, dictionaries=dictionaries), rows


def _dictionaries(connection: sqlite3.Connection) -> dict[int, bytes]:
    """The dictionaries of which a copy is whole; texts of the others are lost."""
    if catalog.format_of(connection) == 1:
        return {}
    found = connection.execute("SELECT DISTINCT dictionary FROM dictionaries").fetchall()
    whole = {}
    for (number,) in found:
        with contextlib.suppress(CorruptStoreError, sqlite3.Error):
            whole[number] = packing.read_dictionary(connection, number)
    return whole


def _set_aside(work: _Work, connection: sqlite3.Connection, timeout: float) -> None:
    """Keep the old catalog and its log, then have the log folded in, unless it is broken too."""
    work.quarantine.mkdir(parents=True, exist_ok=True)
    for name in (catalog.NAME, f"{catalog.NAME}-wal"):
        if (work.folder / name).exists():
            shutil.copyfile(work.folder / name, work.quarantine / name)
    try:
        settle(work.folder, connection, timeout)
    except StoreLockedError as error:
        raise StoreLockedError(
            f"A repair replaces the catalog of {work.folder}, and somebody reads it. Close the "
            "readers and repair again."
        ) from error
    except (sqlite3.Error, StoreError):
        return


def _check_codecs(folder: Path, rows: list[SegmentRow], meta: dict[str, Any]) -> None:
    for name in {row.codec for row in rows} | {meta["codec"]}:
        if name in (EXACT, None):
            continue
        path = _codec_file(folder, name)
        if not path.is_file() or codec_hash(path.read_bytes()) != name:
            raise CorruptStoreError(
                f"{path} is damaged and nothing else can read the codes; that is beyond repair. "
                "Restore that file from a backup and repair again."
            )


def _codec_file(folder: Path, name: str) -> Path:
    return folder / CODECS / f"{name}.safetensors"


def _mend_segments(
    work: _Work, rows: list[SegmentRow], load_codec: Callable[[bytes], Codec] | None
) -> None:
    twins = {r.first_row: r for r in rows if r.kind == "originals"}
    mended: list[SegmentRow] = []
    for row in (r for r in rows if r.kind == "codes"):
        part, good = _look(work.folder, row, load_codec)
        twin = twins.get(row.first_row)
        other, whole = (None, None) if twin is None else _look(work.folder, twin, None)
        if twin is not None and (other is None or whole is None or not whole.all()):
            work.originals_dropped = True
        if part is not None and good is not None and good.all():
            work.rows += [row] if twin is None else [row, twin]
            work.slots.append(part.slots_of(np.arange(row.rows)))
            continue
        mended.append(row)
        if twin is not None:
            mended.append(twin)
        _mend(work, row, (part, good), (other, whole), load_codec)
    if work.originals_dropped:
        gone = [r for r in work.rows if r.kind == "originals"]
        work.rows = [r for r in work.rows if r.kind == "codes"]
        work.meta["keep_originals"] = False
        mended += [r for r in gone if r not in mended]
    work.quarantined = [row.file for row in mended]


_Look = tuple[Part | None, NDArray[np.bool_] | None]


def _look(folder: Path, row: SegmentRow, load_codec: Callable[[bytes], Codec] | None) -> _Look:
    """The part of a segment and which of its rows are whole; nothing when its header is broken."""
    try:
        segment = Segment(folder / SEGMENTS / row.file, row.nbytes, row.header_crc)
        good = ~segment.damaged_rows()
        dim = sum(f.width for f in segment.fields if f.name == "x")
        codec: Codec = ExactCodec(dim)
        if row.codec != EXACT and load_codec is not None:
            codec = load_codec(_codec_file(folder, row.codec).read_bytes())
        slots = None
        if not row.dense:
            slots = row.first_row + segment.array(SLOT)[:, 0].astype(np.int64)
        return Part(row, segment, codec, good, slots), good
    except (CorruptStoreError, OSError):
        return None, None


def _mend(
    work: _Work,
    row: SegmentRow,
    codes: _Look,
    originals: _Look,
    load_codec: Callable[[bytes], Codec] | None,
) -> None:
    """Write a segment of the rows that can be had, from codes or else from originals."""
    part, good = codes
    twin, whole = originals
    folder, metric = work.folder / SEGMENTS, str(work.meta["metric"])
    kinds: list[tuple[Target, Piece]] = []
    if twin is not None and whole is not None and whole.all() and load_codec is not None:
        codec: Codec = ExactCodec(twin.codec.dim)
        if row.codec != EXACT:
            codec = load_codec(_codec_file(work.folder, row.codec).read_bytes())
        target = Target("codes", codec.layout.fields, row.codec, row.fingerprint, metric == "l2")
        kinds.append((target, FromOriginals(twin, whole, codec, metric)))
        kinds.append((_as_it_is(twin), Kept(twin, whole)))
        work.rebuilt += row.rows
    elif part is not None and good is not None and good.any():
        kinds.append((_as_it_is(part), Kept(part, good)))
        if twin is not None and not work.originals_dropped:
            kinds.append((_as_it_is(twin), Kept(twin, good)))
    for target, piece in kinds:
        name = f"{work.counter:012d}-{target.kind}-{secrets.token_hex(4)}.seg"
        work.rows.append(write_pieces(folder / name, target, [piece]))
    if kinds:
        work.slots.append(kinds[0][1].slots)


def _as_it_is(part: Part) -> Target:
    sqnorm = any(f.name == SQNORM for f in part.segment.fields)
    fields = tuple(f for f in part.segment.fields if f.name not in (SLOT, SQNORM))
    return Target(part.row.kind, fields, part.row.codec, part.row.fingerprint, sqnorm)


def _readable(connection: sqlite3.Connection, sql: str) -> list[tuple[Any, ...]]:
    """Rows by ascending first column, as many as can be read."""
    rows: list[tuple[Any, ...]] = []
    try:
        for row in connection.execute(sql, (-1,)):
            rows.append(row)
    except (sqlite3.Error, UnicodeDecodeError):
        pass
    return rows


def _documents(
    work: _Work, connection: sqlite3.Connection, slots: NDArray[np.int64], dead: set[int]
) -> tuple[list[tuple[Any, ...]], set[str]]:
    """Whole documents that have a vector, and the ids of those that are lost."""
    texts = packing.Texts(connection)
    kept: list[tuple[Any, ...]] = []
    lost: set[str] = set()
    have = set(slots.tolist())
    for row in _all_documents(connection, slots):
        slot, name, text, metadata, crc = row
        known = slot in have and slot not in dead
        if known and texts.whole(name, text, metadata, crc) is not None:
            kept.append(row)
        else:
            lost.add(str(name))
    kept.sort()
    return kept, lost


def _all_documents(
    connection: sqlite3.Connection, slots: NDArray[np.int64]
) -> list[tuple[Any, ...]]:
    """All documents; where a scan breaks off, those of the known slots one by one."""
    sql = "SELECT row, id, text, metadata, crc FROM documents WHERE row > ? ORDER BY row"
    rows = _readable(connection, sql)
    seen = {row[0] for row in rows}
    for slot in slots.tolist():
        if slot in seen:
            continue
        try:
            one = "SELECT row, id, text, metadata, crc FROM documents WHERE row = ?"
            rows += connection.execute(one, (slot,)).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            continue
    return rows


def _write_catalog(
    work: _Work,
    connection: sqlite3.Connection,
    documents: list[tuple[Any, ...]],
    slots: NDArray[np.int64],
) -> None:
    """Write the catalog anew beside the old one and swap it in; move broken files away."""
    folder = work.folder
    fsync_folder(folder / SEGMENTS)
    replace_catalog(
        folder,
        work.meta | {"counter": work.counter},
        lambda new: _fill(new, work, documents, slots),
        connection.close,
    )
    for file in work.quarantined:
        if (folder / SEGMENTS / file).exists():
            (folder / SEGMENTS / file).rename(work.quarantine / file)


def _fill(
    connection: sqlite3.Connection,
    work: _Work,
    documents: list[tuple[Any, ...]],
    slots: NDArray[np.int64],
) -> None:
    connection.executemany("INSERT INTO codecs VALUES(?, ?, ?, ?)", work.codecs)
    for row in sorted(work.rows, key=lambda r: (r.kind, r.first_row)):
        catalog.insert_segment(connection, row)
    for number, content in work.dictionaries.items():
        packing.write_dictionary(connection, number, content)
    unpack = packing.Texts(connection).unpack
    connection.executemany("INSERT INTO documents VALUES(?, ?, ?, ?, ?)", documents)
    found = ((*a, d[0]) for d in documents for a in attributes(unpack(d[3])))
    connection.executemany("INSERT INTO attributes VALUES(?, ?, ?, ?)", found)
    gone = set(slots.tolist()) - {d[0] for d in documents}
    connection.executemany("INSERT INTO tombstones VALUES(?)", [(s,) for s in sorted(gone)])
    if work.meta.get("text_index"):
        text_index.build(connection, ((d[0], unpack(d[2])) for d in documents))
    beyond = [row.last_row + 1 for row in work.rows] + [int(work.meta["next_row"])]
    catalog.write_meta(connection, {"next_row": max(beyond)})
