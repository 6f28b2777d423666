"""Overlap at every depth at once."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

Rows = NDArray[np.int64]


def top_rows(scores: Float32, depth: int) -> Rows:
    """Positions of the best `depth` scores of each row [m n], best first: [m depth]."""
    depth = min(depth, scores.shape[1])
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(best, order, 1), np.int64)


def profile(
    exact: Rows, coded: Rows, n: int, depth: int, kept: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Overlap@1 … @depth of two rankings [m t] of documents 0 … n - 1: float64 [m depth].

    A document counts for @j when both rankings have it among their first j. kept: bool [n], the
    documents of a thinned corpus; rankings then must be long enough to still hold `depth` of them.
    """
    result = np.zeros((len(exact), depth))
    place = np.full(n, depth, np.int64)
    depths = np.arange(depth)
    for row, (first, second) in enumerate(zip(exact, coded, strict=True)):
        if kept is not None:
            first, second = first[kept[first]], second[kept[second]]
        first, second = first[:depth], second[:depth]
        place[second] = depths[: len(second)]
        needed = np.maximum(place[first], depths[: len(first)])
        place[second] = depth
        result[row] = np.cumsum(np.bincount(needed, minlength=depth + 1)[:depth])
    return result / np.arange(1, depth + 1)
