"""How far a fast score can be from the canonical one.

Summed in any order, a float32 inner product of e terms differs from the real one by at most
gamma(e) * sum |q_j y_j| <= gamma(e) * |q| |y|, gamma(e) = e u / (1 - e u), u = 2^-24 (Higham,
Accuracy and Stability of Numerical Algorithms, 3.1). Both the matrix product and the canonical
order of `stores.score` obey it, so they differ by at most twice that. The three operations after
the sum (times factor, plus const, minus sqnorm) round once each, relative to their results, and
the bounds themselves are computed in float32: five more u cover both. Products below the normal
range lose at most 2^-126 each, also where a library flushes them to zero.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32, Levels

UNIT = 2.0**-24
TINY = 2.0**-125


def margins(
    queries: Float32,
    const: Float32,
    levels: Levels,
    sqnorm: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Upper bounds float32 [m n] of |fast score - canonical score|.

    queries are the prepared coordinates [m e], const [m], sqnorm [n] of an l2 store.
    """
    dim = levels.y.shape[1]
    steps = dim + 5
    gamma = 2 * steps * UNIT / (1 - steps * UNIT)
    sizes = np.abs(levels.factor) * np.sqrt(np.einsum("ne,ne->n", levels.y, levels.y))
    rest = np.abs(const)[:, None] + (0 if sqnorm is None else np.abs(sqnorm)[None, :])
    norms = np.sqrt(np.einsum("me,me->m", queries, queries))
    # Norms are themselves rounded sums: a thousandth more is far above their own gamma.
    scale = np.float32(1.001 * gamma)
    bound = scale * (norms[:, None] * sizes[None, :] + rest)
    underflow = np.float32(dim * TINY) * (1 + np.abs(levels.factor))
    return np.asarray(bound + underflow[None, :], np.float32)
