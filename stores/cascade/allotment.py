"""Nibbles where they help the scores most.

The error of a score is sum_j q_j e_j, so that a nibble on coordinate j is worth E[q_j^2] times what
it takes from E[e_j^2]. Greedy: the next nibble goes where that is most, be it a new coordinate or
what the nibbles so far have left of one. A nibble's unit is fitted: the sixteen levels are those of
a Gaussian, and clustered data has longer tails than that.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.sketch.codes import THRESHOLDS, VALUES
from attar.stores.kernels.sketch.plan import EncodePlan

ROWS = 4096
FACTORS = np.geomspace(0.5, 4, 25)
NOTHING = 1e-12


def allot(
    a: NDArray[np.float64], importance: NDArray[np.float64], head_dims: int, body_dims: int
) -> EncodePlan:
    """Give head_dims + body_dims nibbles to the columns of a sample a [n, axes].

    Columns come by descending variance; the head keeps to the leading ones that it has begun.
    """
    left = np.array(a[:: max(1, len(a) // ROWS)])
    gain, unit = np.zeros(left.shape[1]), np.ones(left.shape[1])
    for j in range(left.shape[1]):
        gain[j], unit[j] = _gain(left[:, j], importance[j])
    axis, spread, begun = [], [], 0
    for _ in range(head_dims + body_dims):
        # A new column is always the next one, so that the columns of the head are a prefix.
        ready = min(begun + 1, len(gain))
        j = int(np.argmax(gain[:ready]))
        axis.append(j)
        spread.append(unit[j])
        left[:, j] -= quantize(left[:, j], unit[j])
        gain[j], unit[j] = _gain(left[:, j], importance[j])
        begun = max(begun, j + 1)
    head_axes = max(axis[:head_dims]) + 1
    return EncodePlan(np.array(axis, np.int32), np.array(spread, np.float32), head_axes)


def quantize(x: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """The nearest of the sixteen values times the unit."""
    return np.asarray(VALUES[np.searchsorted(THRESHOLDS, x / unit)] * unit, np.float64)


def _gain(x: NDArray[np.float64], importance: float) -> tuple[float, float]:
    """What a nibble on column x takes from the error of scores, and its best unit."""
    energy = float(x @ x)
    size = float(np.sqrt(energy / max(len(x), 1)))
    if size < NOTHING:
        return 0.0, 1.0
    errors = []
    for factor in FACTORS:
        off = x - quantize(x, size * factor)
        errors.append(float(off @ off))
    best = int(np.argmin(errors))
    return importance * (energy - errors[best]), size * float(FACTORS[best])
