"""Intervals by resampling queries: what the choice of queries may have done to a mean."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Indices of one block of resamples stay below 32 MB.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and the interval [low, high] that holds it at the stated level."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: ArrayLike, *, seed: int, level: float = 0.95, samples: int = 10_000
) -> Interval:
    """Percentile bootstrap (Efron 1979) of the mean of one value a query.

    1. Draw m of the m queries with replacement, `samples` times.
    2. low and high are the (1 - level)/2 and (1 + level)/2 quantiles of their means.

    values: [m], finite. level: between 0 and 1.
    """
    x = _finite(values)
    if not 0 < level < 1 or samples < 1:
        raise ValueError(
            f"level is between 0 and 1 and samples at least 1, got {level} and {samples}."
        )
    draw = np.random.default_rng(seed)
    means = np.empty(samples)
    block = max(1, _BLOCK // len(x))
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        means[start : start + rows] = x[draw.integers(0, len(x), (rows, len(x)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(x.mean()), float(low), float(high))


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, seed: int, level: float = 0.95, samples: int = 10_000
) -> Interval:
    """Interval of mean(a - b), both answered by the same queries in the same order.

    Resampling the differences is resampling the queries for both at once, so that what is hard for
    both cancels. An interval without 0 is a difference that these queries can show.
    """
    first, second = _finite(a), _finite(b)
    if len(first) != len(second):
        raise ValueError(
            f"Paired values belong to the same queries, got {len(first)} and {len(second)}; "
            "evaluate both runs with the same judgements."
        )
    return bootstrap_interval(first - second, seed=seed, level=level, samples=samples)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(
            f"Values are finite, one a query, at least one; got the shape {list(x.shape)}"
            f"{'' if np.isfinite(x).all() else ' with NaN or infinity'}."
        )
    return x
