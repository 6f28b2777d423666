"""One float16 scale a vector, chosen so that its own rounding costs nothing."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32


def rms_unit(z: Float32) -> float:
    """Root mean square of all entries, as a power of two: what scales are measured in.

    A power of two is exact in every type, so that the unit itself never rounds anything. At least
    2^-100: where float32 itself loses digits, data are as good as zero.
    """
    rms = float(np.sqrt(np.mean(np.square(z, dtype=np.float64))))
    return float(2.0 ** max(round(float(np.log2(rms))), -100)) if rms > 0 else 1.0


def scale_rows(z: Float32, unit: float, largest: float) -> tuple[Float32, NDArray[np.float16]]:
    """Divide each row so that its largest magnitude is at most `largest`.

    Returns y float32 [n e] and scale float16 [n 1] with z = y * scale * unit. The scale is
    rounded up first and the division done with the rounded one. A zero row has the scale 1. Raises
    ValueError when a row is more than about 10^4 times larger than the rows of `fit`.
    """
    peak = np.abs(z).max(axis=1, initial=0.0) / np.float32(unit * largest)
    with np.errstate(over="ignore"):
        scale = peak.astype(np.float16)
    low = scale.astype(np.float32) < peak
    scale[low] = np.nextafter(scale[low], np.float16(np.inf))
    if np.isinf(scale).any():
        row = int(np.argmax(np.isinf(scale)))
        raise ValueError(
            "A vector's scale must fit float16 in units of the fitted data, "
            f"got a largest coordinate of {np.abs(z[row]).max():g} in row {row} where {unit:g} is "
            "typical; remove the outlier, or fit the codec on data that holds such vectors."
        )
    scale[peak == 0] = 1
    divided = z / (scale.astype(np.float32) * np.float32(unit))[:, None]
    return divided, scale[:, None]
