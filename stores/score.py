"""The score, defined once. Everything else in the project only proposes candidates for it.

score(q, c) = const(q) + factor(c) * sum_j q'_j * y_cj  (- sqnorm(c) in an l2 store), in float32:

1. every product q'_j * y_cj is rounded to float32;
2. the products are summed into 16 lanes, lane = j mod 16, j ascending (no fused multiply-add);
3. the lanes are added in a fixed binary tree: 16 -> 8 -> 4 -> 2 -> 1, lane l with lane l + half;
4. the sum is multiplied by the factor, then const is added, then sqnorm subtracted.

Every implementation therefore agrees bit for bit, whatever the block shape or instruction set.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32, Levels

LANES = 16


def lane_dots(q: Float32, y: Float32) -> Float32:
    """Inner products in the canonical order of one query q [e] with rows y [n e] -> [n]."""
    n, dim = y.shape
    lanes = np.zeros((n, LANES), np.float32)
    for start in range(0, dim, LANES):
        part = y[:, start : start + LANES] * q[start : start + LANES]
        lanes[:, : part.shape[1]] += part
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[:, :width] + lanes[:, width : 2 * width]
    return lanes[:, 0]


def scores(
    q: Float32, const: np.float32, levels: Levels, sqnorm: NDArray[np.float32] | None = None
) -> Float32:
    """Scores of one prepared query against the rows of `levels`: float32 [n]."""
    result = np.float32(const) + levels.factor * lane_dots(q, levels.y)
    return result if sqnorm is None else result - sqnorm
