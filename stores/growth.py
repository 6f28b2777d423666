"""Adding documents: which codec, which segments, one commit.

A store whose codec learns serves exact float32 until it holds enough documents; the add that
reaches them fits the codec on up to 65,536 of them and re-encodes everything in the same commit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores import metric as metrics
from attar.stores.disk.change import Change
from attar.stores.disk.library import Library
from attar.stores.disk.merge import merge_count
from attar.stores.disk.pieces import Fresh, Kept, Piece, Recoded, Target
from attar.stores.errors import StoreError
from attar.stores.exact import EXACT, ExactCodec
from attar.stores.inputs import Batch
from attar.stores.protocols import Codec, Recipe
from attar.stores.sample import FIT_ROWS, sample
from attar.stores.snapshot import Part
from attar.stores.types import Float32

FEW_ROWS = 64
"""Segments with fewer rows are left to merging."""


@dataclass(frozen=True)
class Addition:
    """New documents, checked, and the slots of those that they replace."""

    batch: Batch
    vectors: Float32
    norms: NDArray[np.float64]
    replaced: NDArray[np.int64]
    progress: dict[str, Any] | None = None


def grow(library: Library, recipe: Recipe | None, new: Addition) -> None:
    """Commit an addition."""
    meta = library.meta
    with Change(library, "Adding documents") as change:
        change.insert(int(meta["next_row"]), new.batch)
        codec, name, fitted_now = _stage(library, recipe, new)
        if fitted_now:
            name = change.add_codec(codec)
            change.set_meta(codec=name)
        first = _write(library, change, new, codec, name)
        sweep(library, change, new.replaced, first)
        change.delete(new.replaced.tolist())
        change.set_meta(dim=new.vectors.shape[1])
        if new.progress is not None:
            change.set_meta(progress=new.progress)


def _stage(library: Library, recipe: Recipe | None, new: Addition) -> tuple[Codec, str, bool]:
    """Codec of the new documents, its hash, and whether it was fitted just now."""
    meta = library.meta
    if meta["codec"] is not None:
        return library.codec_of(meta["codec"]), meta["codec"], False
    if recipe is None:
        raise StoreError(
            f"The codec {meta['spec']} of {library.folder} is not fitted yet and needs its recipe. "
            "Open the store with attar.open, or give load_recipe=."
        )
    dim = new.vectors.shape[1]
    seed, metric = int(meta["seed"]), str(meta["metric"])
    if not recipe.learns:
        x = metrics.documents(np.asarray(new.vectors[:FIT_ROWS]), metric, 1.0)
        return recipe.fit(x, seed=seed), "", True
    total = library.snapshot.live - len(new.replaced) + len(new.batch)
    if total < max(int(meta["train_at"]), recipe.min_rows(dim)):
        return ExactCodec(dim), EXACT, False
    return recipe.fit(_fit_rows(library, new, metric, seed), seed=seed), "", True


def _fit_rows(library: Library, new: Addition, metric: str, seed: int) -> Float32:
    """Documents to fit on, of the store and of the addition, in slot order."""
    with library.reading() as connection:
        stored = connection.execute("SELECT row, id FROM documents ORDER BY row").fetchall()
    gone = set(new.replaced.tolist())
    stored = [(slot, name) for slot, name in stored if slot not in gone]
    chosen = sample([name for _, name in stored] + new.batch.ids, seed)
    old = chosen[chosen < len(stored)]
    slots = np.array([stored[i][0] for i in old.tolist()], np.int64)
    dim = new.vectors.shape[1]
    fresh = np.asarray(new.vectors[chosen[len(old) :] - len(stored)])
    x = np.concatenate([library.snapshot.vectors(slots, dim), fresh])
    return metrics.documents(x, metric, 1.0)


def _write(library: Library, change: Change, new: Addition, codec: Codec, name: str) -> int:
    """Write the new rows, together with small segments before them or all that change codec.

    Returns the number of segments that stay.
    """
    meta, snapshot = library.meta, library.snapshot
    metric, fingerprint = str(meta["metric"]), str(meta["fingerprint"])
    keeps = [_keep(part, new.replaced) for part in snapshot.parts]
    if any(part.row.codec != name for part in snapshot.parts) and name != EXACT:
        stale = [p.row.codec == EXACT for p in snapshot.parts]
        first = stale.index(True) if True in stale else len(stale)
    else:
        first = len(snapshot.parts) - _merged(snapshot.parts, keeps, new, codec, name, fingerprint)
    tail, keep = snapshot.parts[first:], keeps[first:]
    twins = snapshot.originals[first:]
    slot = int(meta["next_row"])
    pieces: list[Piece] = [
        Kept(part, k) if part.row.codec == name else Recoded(part, k, codec, metric)
        for part, k in zip(tail, keep, strict=True)
    ]
    pieces.append(Fresh(new.vectors, new.norms, slot, codec, metric))
    change.add_segment(
        Target("codes", codec.layout.fields, name, fingerprint, metric == "l2"), pieces
    )
    if meta["keep_originals"]:
        exact = ExactCodec(new.vectors.shape[1])
        same: list[Piece] = [Kept(part, k) for part, k in zip(twins, keep, strict=True)]
        same.append(Fresh(new.vectors, new.norms, slot, exact, ""))
        change.add_segment(
            Target("originals", exact.layout.fields, EXACT, fingerprint, False), same
        )
    for part in (*tail, *twins):
        change.remove_segment(part.row)
    return first


def _keep(part: Part, replaced: NDArray[np.int64]) -> NDArray[np.bool_]:
    keep = part.live.copy()
    rows = part.rows_of(replaced)
    keep[rows[rows >= 0]] = False
    return keep


def _merged(
    parts: tuple[Part, ...],
    keeps: list[NDArray[np.bool_]],
    new: Addition,
    codec: Codec,
    name: str,
    fingerprint: str,
) -> int:
    """How many of the last segments to merge with the new rows."""
    sizes: list[int] = []
    for part, keep in zip(parts, keeps, strict=True):
        alike = part.row.codec == name and part.row.fingerprint == fingerprint
        sizes = [*sizes, int(keep.sum())] if alike else []
    return merge_count(sizes, len(new.batch), codec.bytes_per_vector)


def shrink(library: Library, slots: NDArray[np.int64]) -> None:
    """Commit the deletion of live slots."""
    with Change(library, "Deleting documents") as change:
        change.delete(slots.tolist())
        sweep(library, change, slots, len(library.snapshot.parts))


def sweep(library: Library, change: Change, dead: NDArray[np.int64], end: int) -> None:
    """Rewrite those of the first `end` segments that are half dead once `dead` slots are gone.

    So deleted rows are never more than the live ones, but for segments of a few rows, and each live
    row that is rewritten has been paid for by a deleted one.
    """
    snapshot = library.snapshot
    for index, part in enumerate(snapshot.parts[:end]):
        keep = _keep(part, dead)
        live = int(keep.sum())
        if live and (2 * live > part.row.rows or part.row.rows < FEW_ROWS):
            continue
        twins = (part, *snapshot.originals[index : index + 1])
        for one in twins:
            change.add_segment(_same(one, library), [Kept(one, keep)])
            change.remove_segment(one.row)


def _same(part: Part, library: Library) -> Target:
    """A segment of the same kind, codec and fingerprint."""
    row, l2 = part.row, library.meta["metric"] == "l2"
    fields = part.codec.layout.fields
    return Target(row.kind, fields, row.codec, row.fingerprint, l2 and row.kind == "codes")


def compact(library: Library) -> None:
    """Rewrite runs of segments of one codec without their deleted rows; slots stay."""
    snapshot = library.snapshot
    with Change(library, "Compacting") as change:
        for first, last in _runs(snapshot.parts):
            parts = snapshot.parts[first:last]
            if len(parts) == 1 and parts[0].live.all():
                continue
            keeps = [part.live for part in parts]
            twins = snapshot.originals[first:last]
            for some in (parts, twins) if twins else (parts,):
                pieces = [Kept(p, k) for p, k in zip(some, keeps, strict=True)]
                change.add_segment(_same(some[0], library), pieces)
                for part in some:
                    change.remove_segment(part.row)


def _runs(parts: tuple[Part, ...]) -> list[tuple[int, int]]:
    """Ranges of neighbouring parts with the same codec and fingerprint."""
    runs: list[tuple[int, int]] = []
    for index, part in enumerate(parts):
        before = parts[index - 1].row if index else None
        same = (
            before is not None
            and before.codec == part.row.codec
            and before.fingerprint == part.row.fingerprint
        )
        if same:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs
