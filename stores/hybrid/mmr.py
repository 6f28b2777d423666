"""Maximal marginal relevance: hits that are good and not all the same.

Carbonell and Goldstein, SIGIR 1998: take in turn the document that maximises
lambda * relevance - (1 - lambda) * (greatest similarity to one already taken), both cosines.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32


def maximal_marginal_relevance(
    query: Float32,
    vectors: Float32,
    k: int,
    lambda_mult: float = 0.5,
    relevance: Float32 | None = None,
) -> NDArray[np.int64]:
    """Positions of the k chosen rows of `vectors` [n d], best first; ties go to the earlier row.

    lambda_mult: 1 is relevance only, 0 diversity only (after the first, most relevant one).
    relevance: [n], cosines of the query with the rows where they are known better than from
    `vectors`: a store's scores are corrected per vector, its decoded vectors are not.
    """
    if not 0 <= lambda_mult <= 1:
        raise ValueError(f"lambda_mult is between 0 and 1, got {lambda_mult!r}.")
    units = _units(vectors)
    relevance = units @ _units(query[None])[0] if relevance is None else relevance
    nearest = np.full(len(vectors), -np.inf)
    chosen: list[int] = []
    open_ = np.ones(len(vectors), bool)
    for _ in range(min(k, len(vectors))):
        value = relevance
        if chosen:
            value = lambda_mult * relevance - (1 - lambda_mult) * nearest
        pick = int(np.argmax(np.where(open_, value, -np.inf)))
        chosen.append(pick)
        open_[pick] = False
        nearest = np.maximum(nearest, units @ units[pick])
    return np.array(chosen, np.int64)


def _units(x: Float32) -> NDArray[np.float64]:
    wide = np.asarray(x, np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(norms > 0, norms, 1)
