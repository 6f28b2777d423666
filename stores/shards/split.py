"""A store cut into shards: the same codes under the same codec, documents in equal parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attar.stores import creation
from attar.stores.disk.change import Change
from attar.stores.disk.library import Library
from attar.stores.disk.pieces import Arrays, Kept, Piece, Target
from attar.stores.errors import StoreError
from attar.stores.inputs import Batch, check_batch
from attar.stores.reading import StoreReading
from attar.stores.snapshot import Part
from attar.stores.store import Store

BATCH = 1000


@dataclass(frozen=True)
class Moved(Piece):
    """Rows of an old segment as they are, under new slots from `first` on."""

    old: Kept
    first: int

    @property
    def slots(self) -> NDArray[np.int64]:
        """Consecutive slots."""
        return self.first + np.arange(int(self.old.keep.sum()))

    def blocks(self) -> Iterator[Arrays]:
        """Bytes of the old file."""
        return self.old.blocks()


def split(store: StoreReading, folder: Path, count: int) -> list[Path]:
    """Cut a store into the new stores `folder/shard-0000`, …; returns their paths.

    Documents go in the order in which they were added, in `count` parts that differ by at most one;
    nothing is decoded. The store needs a fitted codec and at least as many documents as shards.
    """
    library = store._library
    snapshot, meta = library.snapshot, library.meta
    if not 1 <= count <= snapshot.live:
        raise ValueError(
            f"A store of {snapshot.live:,} documents has as many shards at most and 1 "
            f"at least, got {count}."
        )
    if meta["codec"] is None or any(part.row.codec != meta["codec"] for part in snapshot.parts):
        raise StoreError(
            f"Shards have one fitted codec; {library.folder} has codes of another. Finish with "
            "Store.reencode, or add documents until the codec is fitted."
        )
    if folder.exists():
        raise FileExistsError(f"Shards need a folder that does not exist; {folder} does.")
    folder.mkdir()
    slots = np.concatenate([part.slots_of(np.flatnonzero(part.live)) for part in snapshot.parts])
    paths = []
    for number, some in enumerate(np.array_split(np.sort(slots), count)):
        paths.append(folder / f"shard-{number:04d}")
        _write(library, paths[-1], int(some[0]), int(some[-1]))
    return paths


def _write(library: Library, path: Path, first: int, last: int) -> None:
    """One shard: the live documents with slots first..last."""
    meta = {
        key: value for key, value in library.meta.items() if key not in ("codec", "text_index")
    } | {
        "counter": 1,
        "next_row": 0,
        "progress": None,
        "text_index": False,
        "codec": None,
        "characters": 0,
        "trained_at": 0,
    }
    codec = library.codec_of(library.meta["codec"])
    lock = creation.make_folder(path, meta, codec, False)
    try:
        shard = Library(path, True, None)
    except BaseException:
        lock.release()
        raise
    shard.remember(shard.meta["codec"], codec)
    with Store(shard, lock, None, None) as store:
        with Change(shard, "Writing a shard") as change:
            for parts in (library.snapshot.parts, library.snapshot.originals):
                pieces = _pieces(parts, first, last)
                if pieces:
                    change.add_segment(_target(parts[0], library), pieces)
            change.stream(0, _documents(library, first, last))
        if library.meta["text_index"]:
            store.index_texts()


def _pieces(parts: tuple[Part, ...], first: int, last: int) -> list[Moved]:
    pieces, slot = [], 0
    for part in parts:
        rows = np.arange(part.row.rows)
        inside = part.slots_of(rows)
        keep = part.live & (inside >= first) & (inside <= last)
        if keep.any():
            pieces.append(Moved(Kept(part, keep), slot))
            slot += int(keep.sum())
    return pieces


def _target(part: Part, library: Library) -> Target:
    l2 = library.meta["metric"] == "l2" and part.row.kind == "codes"
    fields = part.codec.layout.fields
    return Target(part.row.kind, fields, part.row.codec, part.row.fingerprint, l2)


def _documents(library: Library, first: int, last: int) -> Iterator[Batch]:
    slot = first - 1
    while True:
        with library.guard:
            rows = library.after(slot, BATCH)
        some = [record for at, record in rows if at <= last]
        if not some:
            return
        yield check_batch([r.id for r in some], [r.text for r in some], [r.metadata for r in some])
        slot = rows[-1][0]
