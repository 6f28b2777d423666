"""The bytes of a sketch and what they mean.

A sketch holds the leading coordinates of every document at 4 bits each. Code c stands for the
value LEVEL[c] in 0 … 63, that is for the standardised coordinate VALUES[c] = STEP * LEVEL[c] - TOP:
the Lloyd-Max levels of a Gaussian at 4 bits (Max 1960), rounded to sixty-four steps so that sums of
products fit 16 bits on AVX2.

head  uint8 [ceil(n / 16), s / 8, 64]: byte [b, g, 4 v + i] holds row 16 b + v, coordinate 8 g + i
      in its low nibble and coordinate 8 g + 4 + i in its high nibble (v < 16, i < 4).
body  uint8 [n, t / 2]: byte [c, i] holds coordinate s + i of row c in its low nibble and
      coordinate s + t / 2 + i in its high nibble.

Bytes per vector: s / 2 + t / 2, rows rounded up to 16 in the head.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

TOP = 2.7326
HALF = (0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326)
STEP = 2 * TOP / 63
LEVEL = np.rint((np.array([-x for x in reversed(HALF)] + list(HALF)) + TOP) / STEP).astype(np.uint8)
VALUES: Float32 = (LEVEL * STEP - TOP).astype(np.float32)
THRESHOLDS: Float32 = ((VALUES[1:] + VALUES[:-1]) / 2).astype(np.float32)
ROWS16 = 16


@dataclass(frozen=True)
class SketchCodes:
    """head and body as above, of `rows` rows."""

    rows: int
    head: NDArray[np.uint8]
    body: NDArray[np.uint8]

    @property
    def head_dims(self) -> int:
        """Coordinates s of the head, a multiple of 8."""
        return 8 * int(self.head.shape[1])

    @property
    def body_dims(self) -> int:
        """Coordinates t of the body, even."""
        return 2 * int(self.body.shape[1])

    @property
    def nbytes(self) -> int:
        """All bytes."""
        return self.head.nbytes + self.body.nbytes


def empty_codes(rows: int, head_dims: int, body_dims: int) -> SketchCodes:
    """Room for `rows` rows; head_dims is a multiple of 8, body_dims of 2."""
    if head_dims < 8 or head_dims % 8 or body_dims < 0 or body_dims % 2:
        raise ValueError(
            f"A sketch has a multiple of 8 coordinates in its head and an even number in its body, "
            f"got {head_dims} and {body_dims}."
        )
    if rows >= 1 << 32:
        raise ValueError(f"A sketch numbers its rows with 32 bits, got {rows} rows.")
    blocks = -(-rows // ROWS16)
    # empty, then filled: numpy asks for huge pages only for the former, and single rows of the body
    # cost a page walk each without them.
    head = np.empty((blocks, head_dims // 8, 64), np.uint8)
    body = np.empty((rows, body_dims // 2), np.uint8)
    head.fill(0)
    body.fill(0)
    return SketchCodes(rows, head, body)
