"""nDCG@10 of score matrices: many options, the same questions, no files between."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

K = 10
_DISCOUNT = 1 / np.log2(np.arange(2, K + 2))
Grades = Sequence[Mapping[int, int]]


def best_rows(scores: Float32, k: int = K) -> NDArray[np.int64]:
    """Rows of the k best of each query [m k], best first, equal ones by row."""
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        some = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    else:
        some = np.broadcast_to(np.arange(k), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def ndcg(found: NDArray[np.int64], grades: Grades) -> NDArray[np.float64]:
    """nDCG@10 (Jarvelin and Kekalainen 2002, linear gain as trec_eval) of each query [m].

    found: rows [m k], best first, -1 for none. grades: for each query, row -> grade above 0.
    """
    values = np.zeros(len(found))
    for q, (rows, judged) in enumerate(zip(found[:, :K].tolist(), grades, strict=True)):
        ideal = sorted((g for g in judged.values() if g > 0), reverse=True)[:K]
        if ideal:
            gains = [max(judged.get(row, 0), 0) for row in rows]
            best = float(np.dot(ideal, _DISCOUNT[: len(ideal)]))
            values[q] = float(np.dot(gains, _DISCOUNT[: len(gains)])) / best
    return values
