"""From a sample of s documents to overlap@10 among all n.

1. Rank s sampled documents exactly and by their codes; overlap@j for j = 1 … 50. Taking a sample
   thins the ranking: the j-th of s stands where the (j n / s)-th of n does.
2. Each overlap@j becomes an error ratio (`tail`), a straight line in log(j / s) is fitted to their
   logarithms, and its value where 10 documents of n are gives overlap@10.
3. Twice: with codes of a codec fitted on the very sample (it flatters), and with codes that each
   come from a codec fitted on the other half (it does the opposite, twice as much, the error of
   estimation being proportional to 1 / documents of the fit). The store's codec will be fitted on
   min(n, 65,536) documents, and the two give what remains of either effect there.
4. Interval: normal on the scale of the log ratio; its variance is that over queries (bootstrap)
   plus that over documents (jackknife of ten groups). It does not hold what the model is off by.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.planner.profile import Rows, profile
from attar.retrieval.planner.tail import DEPTH, log_ratios, overlaps_at
from attar.stores.sample import FIT_ROWS

Float64 = NDArray[np.float64]

K = 10
RANKED = 80
GROUPS = 10
RESAMPLES = 300
TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Prediction:
    """Mean for the whole corpus with its 95 % interval, and what the sample itself showed."""

    mean: float
    low: float
    high: float
    at_sample: float


@dataclass(frozen=True)
class Rankings:
    """Positions in the sample, best first, [m t] with t >= min(s, RANKED).

    exact: by float32. inside: by codes of a codec fitted on the sample. outside: by codes from the
    other half's codec, None for a codec that learns nothing.
    """

    exact: Rows
    inside: Rows
    outside: Rows | None


def predict(rankings: Rankings, sample: int, total: int, seed: int) -> Prediction:
    """Predict overlap@10 among `total` documents from rankings of `sample` of them."""
    depth = max(min(DEPTH, sample // 20), min(K, sample))
    views = [rankings.inside] if rankings.outside is None else [rankings.inside, rankings.outside]

    def profiles(kept: NDArray[np.bool_] | None = None) -> list[Float64]:
        return [profile(rankings.exact, view, sample, depth, kept) for view in views]

    whole = profiles()
    measured = float(whole[0][:, min(K, depth) - 1].mean())
    resampled = _query_means(whole, seed)
    if all((view == 1).all() for view in whole):
        # No error was seen in m K places: the rule of three bounds how many there may be.
        return Prediction(1.0, 1 - 3 / (K * len(whole[0])), 1.0, 1.0)
    if sample >= total:
        spread = TWO_SIDED_95 * float(resampled[0][:, min(K, depth) - 1].std())
        return Prediction(
            measured, max(0.0, measured - spread), min(1.0, measured + spread), measured
        )
    target = np.log(K / total)
    point = _extrapolated([view.mean(axis=0)[None] for view in whole], sample, total, target)[0]
    over_queries = _extrapolated(resampled, sample, total, target).var()
    group = np.random.default_rng([seed, 1]).permutation(sample) % GROUPS
    left_out = [
        _extrapolated(
            [view.mean(axis=0)[None] for view in profiles(group != each)],
            int((group != each).sum()),
            total,
            target,
        )[0]
        for each in range(GROUPS)
    ]
    over_documents = (GROUPS - 1) * np.var(left_out)
    spread = TWO_SIDED_95 * float(np.sqrt(over_queries + over_documents))
    mean, low, high = overlaps_at(np.array([point, point + spread, point - spread]), K).tolist()
    return Prediction(mean, low, high, measured)


def _query_means(whole: list[Float64], seed: int) -> list[Float64]:
    """Mean profiles [b J] over resampled queries, the same queries for both views."""
    m = len(whole[0])
    weights = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), RESAMPLES) / m
    return [weights @ view for view in whole]


def _extrapolated(views: list[Float64], sample: int, total: int, target: float) -> Float64:
    """Mean profiles [b J] of one or two views to the log ratio [b] at the log share `target`."""
    logs = [_at(log_ratios(view), sample, target) for view in views]
    if len(logs) == 1:
        return logs[0]
    inside, outside = logs
    # inside = limit - c / s and outside = limit + c / (s / 2), with c / s = (outside - inside) / 3.
    step = (outside - inside) / 3
    limit = inside + step
    fitted = min(total, FIT_ROWS)
    share = fitted / total
    return np.asarray(limit + step * (sample / fitted) * (1 - 2 * share))


def _at(logs: Float64, sample: int, target: float) -> Float64:
    """Least squares line through logs [b J] over log(j / s), at `target`."""
    shares = np.log(np.arange(1, logs.shape[1] + 1) / sample)
    if len(shares) < 2:
        return logs[:, 0]
    centred = shares - shares.mean()
    slope = logs @ centred / (centred @ centred)
    return np.asarray(logs.mean(axis=1) + slope * (target - shares.mean()))
