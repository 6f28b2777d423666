"""The model behind predictions: the best scores of a query lie in an exponential tail.

Near the top of a ranking the scores of n documents are, but for a shift and a scale b, a Poisson
process with intensity e^-t (the Gumbel domain of extreme value theory). A codec adds errors of
standard deviation r b. Then overlap@j depends on j and on the ratio r alone, not on n: growing a
corpus only moves the top k further out, where r differs a little. So an overlap that was measured
at any j gives a ratio, and a ratio gives the overlap at any k.

The function has no closed form; it is simulated once, seeded, and interpolated.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.planner.profile import profile

Float64 = NDArray[np.float64]

DEPTH = 50
RATIOS = np.geomspace(0.001, 6, 32)
DRAWS, POINTS = 800, 1200


@lru_cache(maxsize=1)
def table(seed: int = 0) -> Float64:
    """Overlap@j for j = 1 … DEPTH at each of RATIOS: [r DEPTH], falling in r.

    The same arrivals and errors serve every ratio, so that the table is smooth along it.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(size=(DRAWS, POINTS)), axis=1)
    scores, noise = -np.log(arrivals), rng.standard_normal((DRAWS, POINTS))
    exact = np.broadcast_to(np.arange(2 * DEPTH), (DRAWS, 2 * DEPTH))
    rows = []
    for ratio in RATIOS:
        coded = np.argsort(-(scores + ratio * noise), axis=1)[:, : 2 * DEPTH]
        rows.append(profile(exact, coded, POINTS, DEPTH).mean(axis=0))
    return np.minimum.accumulate(np.array(rows), axis=0)


def log_ratios(overlaps: Float64) -> Float64:
    """Overlaps@1 … @J [b J] to logarithms of the ratio [b J], each within log RATIOS."""
    known, logs = table(), np.log(RATIOS)
    columns = [np.interp(-overlaps[:, j], -known[:, j], logs) for j in range(overlaps.shape[1])]
    return np.stack(columns, axis=1)


def overlaps_at(logs: Float64, k: int) -> Float64:
    """Logarithms of the ratio [b] to overlap@k [b], 1 <= k <= DEPTH."""
    return np.asarray(np.interp(logs, np.log(RATIOS), table()[:, k - 1]))
