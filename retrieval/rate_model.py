"""Bits per coordinate of the entropy-coded trellis quantiser, before anything is encoded.

The rate depends only on the ratio of deviation to half step. It was measured once on Gaussian
samples; the coding rate 1/2 log2(1 + variance / distortion) (Ma et al. 2007, CRATE's formula) is
its limit up to .08 bits at high rates, but up to .3 bits off around one bit.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PRICE = 0.4
"""Squared half steps per bit in the trellis search: the trade that the table below was made with.

Of 0, .12, .25, .4 and .6 it gave the fewest bits at equal overlap@10 on two models.
"""

OCTAVES = (-1.0, -0.9, -0.8, -0.7, -0.6, -0.5, -0.4, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 7.0)
BITS = (
    0,
    0.012,
    0.054,
    0.171,
    0.366,
    0.599,
    0.794,
    1.01,
    1.28,
    1.514,
    1.741,
    2.194,
    3.13,
    4.091,
    5.07,
    8.048,
)
LEFT = (
    1,
    0.988,
    0.955,
    0.86,
    0.706,
    0.544,
    0.422,
    0.313,
    0.212,
    0.151,
    0.109,
    0.0566,
    0.015,
    0.0039,
    0.000995,
    0.0000159,
)
"""log2(deviation / half step) -> bits, and the share of the variance that is left as error."""


def bits_per_coordinate(deviation: NDArray[np.float64], half_step: float) -> NDArray[np.float64]:
    """Expected bits of every coordinate, float64 [e]."""
    octaves = np.log2(np.maximum(deviation, 1e-300) / half_step)
    bits = np.interp(octaves, OCTAVES, BITS)
    return np.where(octaves > OCTAVES[-1], BITS[-1] + octaves - OCTAVES[-1], bits)


def bits_per_vector(deviation: NDArray[np.float64], half_step: float) -> float:
    """Expected bits of all coordinates and the factor."""
    coordinates = float(bits_per_coordinate(deviation, half_step).sum())
    return coordinates + factor_bits(deviation, half_step)


def squared_error(deviation: NDArray[np.float64], half_step: float) -> float:
    """Expected squared error of a vector."""
    octaves = np.log2(np.maximum(deviation, 1e-300) / half_step)
    left = 2.0 ** np.interp(octaves, OCTAVES, np.log2(LEFT))
    left = np.where(octaves > OCTAVES[-1], LEFT[-1] * 4.0 ** (OCTAVES[-1] - octaves), left)
    return float(np.sum(np.square(deviation) * left))


def factor_bits(deviation: NDArray[np.float64], half_step: float) -> float:
    """Expected bits of a factor that is rounded to multiples of 1/256.

    f - 1 = <z - y, y> / <y, y> has the deviation of one coordinate's error over the vector's
    length; the entropy is that of a Gaussian in steps of 1/256.
    """
    spread = 256 * 0.65 * half_step / float(np.linalg.norm(deviation))
    return max(0.0, float(np.log2(4.13 * spread))) if spread > 0 else 0.0


def half_step_for_bits(deviation: NDArray[np.float64], bits: float) -> float:
    """The half step at which a vector is expected to take `bits` bits, factor inside."""
    return _bisect(deviation, lambda step: bits_per_vector(deviation, step) > bits)


def half_step_for_error(deviation: NDArray[np.float64], error: float) -> float:
    """The half step at which a vector is expected to have the squared error `error`."""
    return _bisect(deviation, lambda step: squared_error(deviation, step) < error)


def _bisect(deviation: NDArray[np.float64], too_fine: Callable[[float], bool]) -> float:
    low, high = float(deviation.max()) * 2.0**-24, float(deviation.max()) * 4
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if too_fine(middle) else (low, middle)
    return high
