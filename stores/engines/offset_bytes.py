"""Coordinates as unsigned bytes, so that an inner product of bytes ranks as that of the vectors.

An engine that keeps bytes scores <u, v>, both of bytes. Integers c shifted by 128 give
<c + 128, v + 128> = <c, v> + 128 sum(c) + 128 sum(v) + 128^2 n, and sum(c) differs from document to
document: the ranking would be wrong. Hence

1. a vector z of e dimensions becomes y = H z of n = e + 1 coordinates that sum to zero, where H
   [n e] are the cosines without the constant one (DCT-II), orthonormal: <H q, H z> = <q, z>. It
   also spreads over all coordinates what a principal basis has in the first;
2. c = round(126 y), and as many coordinates as the sum of c is off, those with the largest errors
   in its direction, move by one: the integers sum to zero too;
3. a query becomes v = round(126 H q / m) with m its largest coordinate.

Then <q, z> ~ (<c + 128, v + 128> - 128 sum(v) - 128^2 n) m / 126^2, with one constant per query.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

LEVELS = 126
SHIFT = 128


@dataclass(frozen=True)
class OffsetBytes:
    """Vectors of dim e, whose turned coordinates are in [-1, 1], as bytes 1 … 255 of e + 1."""

    dim: int

    @property
    def width(self) -> int:
        """Bytes n = e + 1."""
        return self.dim + 1

    @cached_property
    def _turn(self) -> NDArray[np.float64]:
        """H [n e]: H_ik = sqrt(2 / n) cos(pi (2 i + 1) k / (2 n)), k = 1 … e."""
        n = self.width
        angles = np.outer(2 * np.arange(n) + 1, np.arange(1, n)) * (np.pi / (2 * n))
        return np.asarray(np.sqrt(2 / n) * np.cos(angles))

    def turned(self, z: Float32) -> NDArray[np.float64]:
        """Y = H z float64 [m n] of vectors [m e]."""
        return z.astype(np.float64) @ self._turn.T

    def documents(self, z: Float32) -> NDArray[np.uint8]:
        """Vectors [m e] to bytes uint8 [m n]. Their turned coordinates must be in [-1, 1]."""
        exact = LEVELS * self.turned(z)
        cells = np.rint(exact)
        off = cells.sum(axis=1, keepdims=True)
        worst = np.argsort(-np.sign(off) * (cells - exact), axis=1, kind="stable")
        place = np.empty_like(worst)
        np.put_along_axis(place, worst, np.arange(self.width)[None], axis=1)
        cells -= np.sign(off) * (place < np.abs(off))
        return np.asarray(cells + SHIFT, np.uint8)

    def query(self, q: Float32) -> tuple[NDArray[np.uint8], float, float]:
        """A query [e] to bytes [n], and a, b of <q, z> ~ a score + b."""
        turned = self.turned(q[None])[0]
        largest = float(np.abs(turned).max()) or 1.0
        cells = np.rint(LEVELS * turned / largest)
        a = largest / LEVELS**2
        b = -a * (SHIFT * float(cells.sum()) + SHIFT**2 * self.width)
        return np.asarray(cells + SHIFT, np.uint8), a, b

    def vectors(self, u: NDArray[np.generic]) -> Float32:
        """Bytes [m n] to the vectors [m e] that they stand for."""
        cells = u.reshape(-1, self.width).astype(np.float64) - SHIFT
        return np.asarray(cells @ self._turn / LEVELS, np.float32)
