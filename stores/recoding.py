"""Changing the codec of a store that is in use, one segment at a time.

1. The new codec is fitted (on originals where they are kept) and committed: from then on new
   documents get it, and searches read both kinds, each with its own prepared query.
2. Each commit re-encodes one segment, so an interruption loses one segment's work at most, and
   the same call goes on where it stopped.
3. When no segment is left, the old codec's file goes.
"""

from collections.abc import Callable

import numpy as np

from attar.stores import metric as metrics
from attar.stores.disk.change import Change
from attar.stores.disk.library import Library
from attar.stores.disk.pieces import FromOriginals, Kept, Piece, Recoded, Target
from attar.stores.errors import StoreError
from attar.stores.exact import EXACT
from attar.stores.protocols import Codec, Recipe
from attar.stores.sample import sample
from attar.stores.types import Float32

OnProgress = Callable[[int, int], None]


def choose(library: Library, codec: Codec | Recipe) -> None:
    """Commit the codec that everything is to be re-encoded with, fitted if it is a recipe."""
    dim = library.meta["dim"]
    if library.meta.get("upgrade"):
        raise StoreError(
            "The codec of a store changes when no upgrade of its model is under way. Finish it "
            "first: `attar upgrade DIR --commit`, or --rollback."
        )
    if isinstance(codec, Codec):
        fitted = codec
        if dim is not None and fitted.dim != dim:
            raise ValueError(
                f"This store holds vectors of {dim} dimensions; the codec was fitted for "
                f"{fitted.dim}. Fit one on vectors of this store."
            )
    else:
        fitted = _fit(library, codec)
    with Change(library, "Changing the codec") as change:
        change.set_meta(codec=change.add_codec(fitted), spec=fitted.spec, dim=fitted.dim)


def _fit(library: Library, recipe: Recipe) -> Codec:
    n, dim, seed = library.snapshot.live, library.meta["dim"], int(library.meta["seed"])
    least = 1 if dim is None else recipe.min_rows(int(dim))
    if n < least or not n:
        raise ValueError(
            f"{recipe.spec} is fitted on at least {least} documents, this store has {n}. Add more "
            "first, or give a fitted codec."
        )
    with library.reading() as connection:
        rows = connection.execute("SELECT row, id FROM documents ORDER BY row").fetchall()
    chosen = sample([name for _, name in rows], seed)
    slots = np.array([rows[i][0] for i in chosen.tolist()], np.int64)
    x = library.snapshot.vectors(slots, int(dim), bool(library.meta["keep_originals"]))
    return recipe.fit(_directions(x, str(library.meta["metric"])), seed=seed)


def _directions(x: Float32, metric: str) -> Float32:
    """As documents are encoded; a vector that a coarse code turned to zero is left out."""
    return metrics.documents(x[x.any(axis=1)] if metric == "cosine" else x, metric, 1.0)


def reencode(library: Library, on_progress: OnProgress | None = None) -> int:
    """Re-encode every segment that has another codec than the store; returns the rows done."""
    name = library.meta["codec"]
    if name is None:
        return 0
    total = sum(p.row.rows for p in library.snapshot.parts if p.row.codec != name)
    done = 0
    while True:
        parts = library.snapshot.parts
        index = next((i for i, p in enumerate(parts) if p.row.codec != name), None)
        if index is None:
            break
        done += parts[index].row.rows
        _reencode_one(library, index, name)
        if on_progress is not None:
            on_progress(done, total)
    _forget_codecs(library)
    return done


def _reencode_one(library: Library, index: int, name: str) -> None:
    snapshot, metric = library.snapshot, str(library.meta["metric"])
    part, codec = snapshot.parts[index], library.codec_of(name)
    with Change(library, "Re-encoding") as change:
        piece: Piece = Recoded(part, part.live, codec, metric)
        twin = snapshot.originals[index] if snapshot.originals else None
        fingerprint = part.row.fingerprint
        if twin is not None:
            piece = FromOriginals(twin, part.live, codec, metric)
            target = Target("originals", twin.codec.layout.fields, EXACT, fingerprint, False)
            change.add_segment(target, [Kept(twin, part.live)])
            change.remove_segment(twin.row)
        target = Target("codes", codec.layout.fields, name, fingerprint, metric == "l2")
        change.add_segment(target, [piece])
        change.remove_segment(part.row)


def _forget_codecs(library: Library) -> None:
    if library.meta.get("upgrade"):
        return
    used = {p.row.codec for p in library.snapshot.parts} | {library.meta["codec"]}
    with library.reading() as connection:
        known = [name for (name,) in connection.execute("SELECT hash FROM codecs")]
    stale = [name for name in known if name not in used]
    if stale:
        with Change(library, "Forgetting a codec") as change:
            for name in stale:
                change.remove_codec(name)
