"""Exact top-k of codes in plain numpy: what every other implementation must equal.

rows, scores = the k best of `stores.score` over the allowed rows, score descending, ties by row
ascending.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.top import Top
from attar.stores.score import scores
from attar.stores.types import Float32, Levels, Query

BLOCK = 4096


def top(
    levels: Levels,
    sqnorm: NDArray[np.float32] | None,
    query: Query,
    k: int,
    allowed: NDArray[np.bool_] | None = None,
) -> Top:
    """The k best rows of each query [m e] over levels y [n e]."""
    n, m = len(levels.y), len(query)
    rows = np.arange(n) if allowed is None else np.flatnonzero(allowed)
    kept = min(k, len(rows))
    found = Top(np.empty((m, kept), np.int64), np.empty((m, kept), np.float32), np.zeros(m, bool))
    for q in range(m):
        values = all_scores(levels, sqnorm, query, q)[rows]
        order = np.lexsort((rows, -values))
        found.rows[q], found.scores[q] = rows[order[:kept]], values[order[:kept]]
        if 0 < kept < len(order):
            found.cut[q] = values[order[kept]] == found.scores[q, -1]
    return found


def all_scores(levels: Levels, sqnorm: NDArray[np.float32] | None, query: Query, q: int) -> Float32:
    """Scores [n] of query q with every row."""
    parts = [np.zeros(0, np.float32)]
    for start in range(0, len(levels.y), BLOCK):
        some = slice(start, start + BLOCK)
        block = Levels(levels.y[some], levels.factor[some])
        norm = None if sqnorm is None else sqnorm[some]
        parts.append(scores(query.coords[q], query.const[q], block, norm))
    return np.concatenate(parts)
