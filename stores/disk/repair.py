"""Keeping what is whole of a broken store, and naming what is not.

1. Segments are read block by block. Rows in damaged blocks are lost, unless the store keeps
   originals and those are whole: then the codes are made again from them. The other rows of a
   damaged segment are written anew; its file goes to `quarantine/`.
2. Documents that are damaged, or whose vectors are lost, are taken out and named.
3. The index of metadata is made again; the catalog is written anew from what could be read.

A broken codec file, or a catalog whose tables of segments or settings cannot be read, is beyond
repair: there is nothing to read the codes with.
"""

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
from attar.stores.disk.catalog import SegmentRow, is_whole
from attar.stores.disk.durable import explained, fsync_folder
from attar.stores.disk.handles import connect_file, file_crc
from attar.stores.disk.library import CODECS, SEGMENTS, codec_hash
from attar.stores.disk.lock import WriterLock
from attar.stores.disk.pieces import FromOriginals, Kept, Piece, Target, write_pieces
from attar.stores.disk.seal import Seal, write_seal
from attar.stores.disk.segment import Segment
from attar.stores.errors import CorruptStoreError, StoreError
from attar.stores.exact import EXACT, ExactCodec
from attar.stores.filters.attributes import attributes
from attar.stores.hybrid import text_index
from attar.stores.protocols import Codec
from attar.stores.snapshot import SLOT, SQNORM, Part

QUARANTINE = "quarantine"
_CHUNK = 400


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
            return _repair(folder, load_codec)
    finally:
        lock.release()


def _repair(folder: Path, load_codec: Callable[[bytes], Codec] | None) -> Repaired:
    connection = connect_file(folder / catalog.NAME, "rw")
    try:
        work, rows = _settings(folder, connection)
        _check_codecs(folder, rows, work.meta)
        _mend_segments(work, rows, load_codec)
        slots = np.concatenate([np.zeros(0, np.int64), *work.slots])
        dead = _readable(connection, "SELECT row FROM tombstones WHERE row > ? ORDER BY row")
        documents, damaged = _documents(connection, slots, {row for (row,) in dead})
    finally:
        connection.close()
    _write_catalog(work, documents, slots)
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
        needed = ("counter", "next_row", "dim", "metric", "codec", "keep_originals")
        if any(key not in meta for key in needed):
            raise CorruptStoreError("settings are missing")
    except (sqlite3.Error, StoreError, ValueError, TypeError) as error:
        raise CorruptStoreError(
            f"The catalog of {folder} cannot say which segments it has ({error}); that is beyond "
            "repair. Restore a backup."
        ) from error
    return _Work(folder, meta, codecs), rows


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
        name = f"{int(work.meta['counter']) + 1:012d}-{target.kind}-{secrets.token_hex(4)}.seg"
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
    connection: sqlite3.Connection, slots: NDArray[np.int64], dead: set[int]
) -> tuple[list[tuple[Any, ...]], set[str]]:
    """Whole documents that have a vector, and the ids of those that are lost."""
    kept: list[tuple[Any, ...]] = []
    lost: set[str] = set()
    have = set(slots.tolist())
    for row in _all_documents(connection, slots):
        slot, name, text, metadata, crc = row
        if slot in have and slot not in dead and is_whole(name, text, metadata, crc):
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


def _write_catalog(work: _Work, documents: list[tuple[Any, ...]], slots: NDArray[np.int64]) -> None:
    """Write the catalog anew beside the old one and swap it in; move broken files away."""
    folder = work.folder
    counter = int(work.meta["counter"]) + 1
    quarantine = folder / QUARANTINE / f"{counter:012d}"
    quarantine.mkdir(parents=True, exist_ok=True)
    draft = folder / f"repair-{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        catalog.create(draft, work.meta | {"counter": counter})
        connection = sqlite3.connect(draft / catalog.NAME, isolation_level=None)
        try:
            _fill(connection, work, documents, slots)
        finally:
            connection.close()
        fsync_folder(folder / SEGMENTS)
        size, crc = file_crc(draft / catalog.NAME)
        for name in (catalog.NAME, f"{catalog.NAME}-wal", f"{catalog.NAME}-shm"):
            if (folder / name).exists():
                (quarantine / name).hardlink_to(folder / name)
        for name in (f"{catalog.NAME}-wal", f"{catalog.NAME}-shm"):
            (folder / name).unlink(missing_ok=True)
        (draft / catalog.NAME).rename(folder / catalog.NAME)
        write_seal(folder, Seal(counter, True, size, crc), durable=True)
        fsync_folder(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for file in work.quarantined:
        if (folder / SEGMENTS / file).exists():
            (folder / SEGMENTS / file).rename(quarantine / file)


def _fill(
    connection: sqlite3.Connection,
    work: _Work,
    documents: list[tuple[Any, ...]],
    slots: NDArray[np.int64],
) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO codecs VALUES(?, ?, ?, ?)", work.codecs)
    for row in sorted(work.rows, key=lambda r: (r.kind, r.first_row)):
        catalog.insert_segment(connection, row)
    connection.executemany("INSERT INTO documents VALUES(?, ?, ?, ?, ?)", documents)
    found = ((*a, d[0]) for d in documents for a in attributes(d[3]))
    connection.executemany("INSERT INTO attributes VALUES(?, ?, ?, ?)", found)
    gone = set(slots.tolist()) - {d[0] for d in documents}
    connection.executemany("INSERT INTO tombstones VALUES(?)", [(s,) for s in sorted(gone)])
    if work.meta.get("text_index"):
        text_index.build(connection)
    beyond = [row.last_row + 1 for row in work.rows] + [int(work.meta["next_row"])]
    catalog.write_meta(connection, {"next_row": max(beyond)})
    connection.execute("COMMIT")
