"""One float16 factor a vector: the multiple of the levels that is nearest to the vector."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

GAINS = np.array([2**-0.25, 1, 2**0.25, 2**0.5], np.float32)
"""What a vector is tried to be divided by, besides `typical_size`, before its levels are chosen.

Of the seven quarter octaves from -3 to 3, on two foreign fits and four fits at home, the best was
one of these for 98 vectors in 100 or more, but for 92 in 100 of Cranfield under mpnet at 8x, whose
rest asked for 2^(3/4).
"""


def least_squares_factor(
    coords: Float32, levels: Float32, typical: float, first_row: int = 0
) -> NDArray[np.float16]:
    """Return f = <z, y> / <y, y> for rows z = coords and y = levels float32 [n e] -> float16 [n 1].

    A row of zero levels has the factor 0; errors as in `stored_factor`.
    """
    power = np.einsum("ne,ne->n", levels, levels)
    along = np.einsum("ne,ne->n", coords, levels)
    with np.errstate(over="ignore", invalid="ignore"):
        factor = along / np.where(power > 0, power, 1)
    return stored_factor(factor, coords, typical, first_row)


def stored_factor(
    factor: NDArray[np.floating],
    coords: Float32,
    typical: float,
    first_row: int = 0,
    unit: Float32 | None = None,
) -> NDArray[np.float16]:
    """Factors [n] of rows coords [n e] as float16 [n 1].

    Raises ValueError for a vector so long that its factor leaves float16; for that are `typical`,
    the usual length, `first_row`, the number of row 0, and `unit`, what coords are counted in [e].
    """
    with np.errstate(over="ignore"):
        stored = factor.astype(np.float16)
    if not np.isfinite(stored).all():
        row = int(np.argmin(np.isfinite(stored)))
        vector = coords[row] if unit is None else coords[row] * unit
        raise ValueError(
            "A vector may be at most 65504 times as far from the mean as those of the fit, "
            f"got {np.linalg.norm(vector):g} in row {first_row + row} where "
            f"{typical:g} is typical; remove the outlier, or fit the codec on data that holds "
            "such vectors."
        )
    return np.asarray(stored[:, None], np.float16)


def typical_size(unit: Float32) -> Float32:
    """Root mean square of each row of unit [n e], to a quarter of an octave; 1 for a zero row.

    In units of the deviations, so that it tells how far a vector is from what the levels expect
    even where the leading coordinates alone decide its length.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.einsum("ne,ne->n", unit, unit)
    if not np.isfinite(power).all():
        power = np.square(np.nan_to_num(unit), dtype=np.float64).sum(axis=1)
    size = np.sqrt(power.astype(np.float64) / unit.shape[1])
    quarters = np.rint(4 * np.log2(np.where(size > 0, size, 1)))
    return np.asarray(np.exp2(quarters / 4), np.float32)


def power_of_four_norms(coords: Float32, typical: float) -> Float32:
    """|row| / typical, rounded to a power of four: exactly 1 between a half and two.

    For codes with one step, whose integers reach far: vectors of other lengths than those of the
    fit then still fall among them.
    """
    norms = np.linalg.norm(coords, axis=1) / np.float32(typical)
    powers = np.rint(np.log2(np.where(norms > 0, norms, np.float32(1))) / 2)
    return np.asarray(np.exp2(2 * powers), np.float32)
