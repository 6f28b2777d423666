"""Cells: documents by the nearest of many centres, none of them too large.

1. k-means by faiss on the leading principal coordinates of a sample.
2. A document belongs to its nearest centre, unless that cell is full (`CROWD` times the mean size):
   then to the next nearest of `CHOICE` that has room. Those that are nearest to a centre stay.
3. Rows of a cell get consecutive positions, and every cell begins at a multiple of sixteen.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.projection import principal_axes
from attar.stores.kernels.sketch import NOWHERE, ROWS16
from attar.stores.types import Float32

GUIDE, COMPARED = 256, 128
CROWD = 2.0
CHOICE = 8
ROUNDS = 10


@dataclass(frozen=True)
class Cells:
    """centres float32 [c e']; guide float32 [e' g], orthonormal: their leading coordinates.

    Documents are compared with centres in the first 128 of these, queries in all of them.
    """

    centres: Float32
    guide: Float32

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def nbytes(self) -> int:
        """Bytes of the centres, whole and in leading coordinates."""
        return self.centres.nbytes + (self.leading.nbytes if len(self) > 1 else 0)

    @cached_property
    def longest(self) -> float:
        """The largest norm of a centre."""
        return float(np.linalg.norm(self.centres, axis=1).max())

    @cached_property
    def leading(self) -> Float32:
        """Centres in the coordinates of the guide [c g]."""
        return np.ascontiguousarray(self.centres @ self.guide)

    def scores(self, w: Float32) -> Float32:
        """<w, centre> [m c] of queries w [m e'] but for what a query has in common for all cells.

        And but for what centres have outside of the guide: a twentieth of the deviation of scores
        within a cell in 256 of 768 dimensions, for a third of the work.
        """
        return np.asarray((w @ self.guide) @ self.leading.T, np.float32)

    def nearest(self, z: Float32, count: int) -> tuple[Float32, NDArray[np.int64]]:
        """Squared distances and cells [n count] of documents z [n e'], the nearest first."""
        import faiss

        guide = self.guide[:, :COMPARED]
        index = faiss.IndexFlatL2(guide.shape[1])
        index.add(np.ascontiguousarray(self.leading[:, :COMPARED]))
        found: tuple[Float32, NDArray[np.int64]] = index.search(
            np.ascontiguousarray(z @ guide), min(count, len(self))
        )
        return found

    def assign(self, z: Float32) -> NDArray[np.int64]:
        """Nearest cell [n] of documents z [n e']."""
        return np.zeros(len(z), np.int64) if len(self) == 1 else self.nearest(z, 1)[1][:, 0]


def cluster(z: Float32, count: int, seed: int) -> Cells:
    """`count` centres of a sample of documents z [n e']; one is the mean."""
    mean = z.mean(axis=0, dtype=np.float64) if len(z) else np.zeros(z.shape[1])
    if count == 1:
        return Cells(mean[None].astype(np.float32), np.zeros((z.shape[1], 0), np.float32))
    import faiss

    some = (z[: 1 << 14] - mean).astype(np.float64)
    guide = np.ascontiguousarray(principal_axes(some)[:, :GUIDE], np.float32)
    inside = np.ascontiguousarray(z @ guide[:, :COMPARED])
    means = faiss.Kmeans(
        inside.shape[1],
        count,
        niter=ROUNDS,
        seed=seed,
        max_points_per_centroid=1 << 20,
        min_points_per_centroid=1,
    )
    means.train(inside)
    _, owner = means.index.search(inside, 1)
    sums = np.zeros((count, z.shape[1]), np.float64)
    np.add.at(sums, owner[:, 0], z)
    sizes = np.bincount(owner[:, 0], minlength=count)
    return Cells((sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)[sizes > 0], guide)


def balanced(
    distance: Float32, choice: NDArray[np.int64], cells: int, crowd: float = CROWD
) -> NDArray[np.int64]:
    """A cell for every row of `choice` int64 [n t], its cells from near to far: int64 [n].

    No cell has more than `crowd` times the mean, unless all choices of a row are full.
    """
    n, width = choice.shape
    room = np.full(cells, int(np.ceil(crowd * n / cells)), np.int64)
    owner = np.full(n, -1, np.int64)
    for turn in range(width):
        left = np.flatnonzero(owner < 0)
        wanted = choice[left, turn]
        order = left[np.lexsort((distance[left, turn], wanted))]
        cell = choice[order, turn]
        rank = np.arange(len(order)) - np.searchsorted(cell, cell)
        taken = rank < room[cell]
        owner[order[taken]] = cell[taken]
        room -= np.bincount(cell[taken], minlength=cells)
    return np.where(owner < 0, choice[:, 0], owner)


def arranged(owner: NDArray[np.int64], cells: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """First blocks int64 [cells + 1] of the cells, and the row at every position."""
    sizes = np.bincount(owner, minlength=cells)
    starts = np.concatenate([[0], np.cumsum(-(-sizes // ROWS16))]).astype(np.int64)
    by_cell = np.argsort(owner, kind="stable")
    order = np.full(ROWS16 * int(starts[-1]), NOWHERE, np.uint32)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order[ROWS16 * starts[owner[by_cell]] + within] = by_cell
    return starts, order
