"""Grouping a store's vectors into cells, so that approximate searches look into few of them.

One frame per codec (centres, axes) is fitted on a sample of all its large segments; each of them is
sketched in it and calibrated, and what results is saved beside the store. Nothing of this is part
of a commit: it is derived from codes that are, and a search that finds none of it, or an outdated
part of it, gives the same exact results.
"""

import math

from attar.stores.cascade.calibration import calibration
from attar.stores.cascade.frame import Frame
from attar.stores.cascade.index import Cascade, shape_for
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.saved import Shelf
from attar.stores.disk.durable import explained
from attar.stores.disk.library import Library
from attar.stores.scan import fast
from attar.stores.snapshot import Part, Snapshot

SMALLEST, LARGEST = 16, 16_384


def cells_for(rows: int) -> int:
    """The power of two nearest to sqrt(rows), 16 to 16,384: 1,024 for a million."""
    return int(min(max(2 ** round(math.log2(max(rows, 1)) / 2), SMALLEST), LARGEST))


def cluster(library: Library, cells: int | None, seed: int, threads: int | None) -> int:
    """Group the large segments of the present commit; returns how many rows they have."""
    snapshot = library.snapshot
    rows = 0
    with explained("Clustering", library.folder):
        for codec in sorted({part.row.codec for part in snapshot.parts}):
            parts = [p for p in large_parts(snapshot) if p.row.codec == codec]
            if parts:
                rows += _cluster(parts, cells, seed, threads)
        if snapshot.parts:
            Shelf.of(snapshot.parts[0]).tidy(library.snapshot.parts)
    return rows


def large_parts(snapshot: Snapshot) -> list[Part]:
    """Parts that are searched by a sketch."""
    return [
        part
        for part in snapshot.parts
        if part.row.rows >= fast.CASCADE_ROWS and fast.scanner(part).source.native
    ]


def _cluster(parts: list[Part], cells: int | None, seed: int, threads: int | None) -> int:
    rows = sum(part.row.rows for part in parts)
    count = cells_for(rows) if cells is None else cells
    sources = [fast.scanner(part).source for part in parts]
    dim = sources[0].layout.dim + (sources[0].sqnorm is not None)
    gram = gram_of(parts[0].codec)
    frame = Frame.fit(sources, gram, *shape_for(dim), count, seed, threads)
    shelf = Shelf.of(parts[0])
    name = shelf.save_frame(frame, parts[0].row.codec)
    for part, source in zip(parts, sources, strict=True):
        index = Cascade.encode(source, frame, threads)
        known = calibration(index)
        shelf.save(part, index, name, known)
        fast.scanner(part).install(index, known)
    return rows


def check_cells(cells: int | None) -> int | None:
    """The number of cells, checked; None chooses."""
    if cells is None:
        return None
    if isinstance(cells, bool) or not 2 <= int(cells) <= LARGEST:
        raise ValueError(f"cells lies in 2 … {LARGEST}, or is None to choose, got {cells!r}.")
    return int(cells)
