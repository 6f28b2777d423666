"""Trellis-coded quantisation with one step for all dimensions, for codes to be entropy-coded.

A code is an integer multiple of half the step. Two quantisers take turns, as in VVC's dependent
quantisation (Schwarz et al., DCC 2019): Q0 has the even integers 2 k, Q1 zero and the odd ones
2 k - sign(k). The state of the trellis says which one is next, and the parity of k where to go:
in terms of `attar.stores.layouts.waterfill`, c0 is the quantiser and c1 the parity.
"""

import math

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.trellis.reference import cheapest_path
from attar.stores.types import Float32

PRICED = 64
"""Largest |k| whose bits are told apart."""

ROWS = 512


def quantise_uniform(
    u: Float32, limit: Float32, rate: Float32, price: float, taps: tuple[int, int]
) -> NDArray[np.int16]:
    """Rows u float32 [n e], in half steps, to integers [n e] that minimise squared error + bits.

    limit float32 [e]: largest magnitude of the integers, at least 8. rate float32 [e 2 PRICED + 1]:
    bits of |k| under each quantiser; price: squared half steps per bit. Of each subset the nearest
    integer and the next one towards zero compete.
    """
    codes = np.empty(u.shape, np.int16)
    for start in range(0, len(u), ROWS):
        part = np.ascontiguousarray(u[start : start + ROWS].T)
        values = np.empty((u.shape[1], 4, part.shape[1]), np.int16)
        costs = np.empty(values.shape, np.float32)
        for subset in range(4):
            values[:, subset], costs[:, subset] = _best(
                part, limit[:, None], subset, rate, np.float32(price)
            )
        _, picked = cheapest_path(costs, taps)
        chosen = np.take_along_axis(values, picked[:, None], axis=1)[:, 0]
        codes[start : start + ROWS] = chosen.T
    return codes


def _best(
    u: Float32, limit: Float32, subset: int, rate: Float32, price: np.float32
) -> tuple[NDArray[np.int16], Float32]:
    """Cheapest of two members of a subset, and its cost: [e n] each.

    Magnitudes of the subsets: D0 0, 4, 8, …; D2 2, 6, …; D1 0, 3, 7, …; D3 1, 5, ….
    """
    quantiser = subset & 1
    first = (0, 3, 2, 1)[subset]
    size = np.minimum(np.abs(u), limit - 4)
    near = np.maximum(4 * np.rint((size - first) / 4), 0) + np.float32(first)
    less = np.maximum(near - 4, 0 if subset == 1 else first)
    options, costs = (near, less), []
    for value in options:
        k = np.minimum((value + quantiser) / 2, PRICED).astype(np.intp)
        bits = np.take_along_axis(rate[:, quantiser], k, axis=1)
        costs.append((size - value) * (size - value) + price * bits)
    value = np.where(costs[1] < costs[0], less, near)
    return np.copysign(value, u).astype(np.int16), np.minimum(*costs)


def gaussian_rates(deviation: NDArray[np.float64]) -> Float32:
    """Bits of |k| for Gaussians of the given deviations (in half steps), [e 2 PRICED + 1].

    The sign's bit is inside. Cells end half way between neighbours; nothing costs over 24 bits.
    Where PRICED is too small for the deviation, every k costs the same.
    """
    steps = np.arange(1, PRICED + 1)
    even = np.concatenate([[0.0], 2.0 * steps - 1, [np.inf]])
    odd = np.concatenate([[0.0, 0.5], 2.0 * steps[:-1], [np.inf]])
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    bits = np.empty((len(deviation), 2, PRICED + 1), np.float32)
    scale = np.maximum(deviation, 1e-3)[:, None] * math.sqrt(2)
    for quantiser, bounds in enumerate((even, odd)):
        mass = -np.diff(erfc(bounds / scale), axis=1)
        mass[:, 1:] /= 2
        bits[:, quantiser] = -np.log2(np.maximum(mass, 2.0**-24))
    bits[deviation > PRICED / 4] = 0
    return bits
