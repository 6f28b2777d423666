"""How much of the exact top-k a compressed store still finds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def overlap_at_k(
    hits_ids: Sequence[Sequence[str]] | NDArray[np.object_],
    exact_ids: Sequence[Sequence[str]] | NDArray[np.object_],
    k: int = 10,
) -> NDArray[np.float64]:
    """Share of the exact top-k among the first k hits: float64 [m], from 0 to 1.

    overlap@k = |first k hits ∩ first k exact| / |first k exact|; both [m >= k] ids, best first (or
    shorter, when there are fewer documents). Order within the first k does not count.
    """
    if k < 1:
        raise ValueError(f"k is at least 1, got {k}.")
    if len(hits_ids) != len(exact_ids):
        raise ValueError(
            f"Hits and exact hits answer the same queries, got {len(hits_ids)} and "
            f"{len(exact_ids)}; pass both in one order."
        )
    shares = np.empty(len(exact_ids))
    for row, (hits, exact) in enumerate(zip(hits_ids, exact_ids, strict=True)):
        wanted = set(exact[:k])
        if not wanted:
            raise ValueError(f"Exact hits are not empty, got none for query {row}.")
        shares[row] = len(wanted.intersection(hits[:k])) / len(wanted)
    return shares
