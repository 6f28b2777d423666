"""The bytes of a sketch and what they mean.

A sketch holds the leading coordinates of every document at 4 bits each. Code c stands for the
value LEVEL[c] in 0 … 63, that is for the standardised coordinate VALUES[c] = STEP * LEVEL[c] - TOP:
the Lloyd-Max levels of a Gaussian at 4 bits (Max 1960), rounded to sixty-four steps so that sums of
products fit 16 bits on AVX2.

head   uint8 [blocks, s / 8, 64]: byte [b, g, 4 v + i] holds position 16 b + v, coordinate 8 g + i
       in its low nibble and coordinate 8 g + 4 + i in its high nibble (v < 16, i < 4).
body   uint8 [16 blocks, t / 2]: byte [p, i] holds coordinate s + i of position p in its low nibble
       and coordinate s + t / 2 + i in its high nibble.
starts int64 [cells + 1]: cell c is the blocks starts[c] … starts[c + 1] - 1. Rows of a cell lie at
       its first positions, so that only its last block has room to spare.
order  uint32 [16 blocks], position -> row, NOWHERE where there is none; absent in a sketch of one
       cell, where position p is row p and there is none behind the last row.

Bytes per vector: s / 2 + t / 2, and 4 with an order; rows of a cell rounded up to 16.
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
NOWHERE = 0xFFFFFFFF


@dataclass(frozen=True)
class SketchCodes:
    """The arrays above, of `rows` rows."""

    rows: int
    head: NDArray[np.uint8]
    body: NDArray[np.uint8]
    starts: NDArray[np.int64]
    order: NDArray[np.uint32] | None = None

    @property
    def head_dims(self) -> int:
        """Coordinates s of the head, a multiple of 8."""
        return 8 * int(self.head.shape[1])

    @property
    def body_dims(self) -> int:
        """Coordinates t of the body, even."""
        return 2 * int(self.body.shape[1])

    @property
    def cells(self) -> int:
        """Cells; one without an order."""
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """All bytes."""
        order = 0 if self.order is None else self.order.nbytes
        return self.head.nbytes + self.body.nbytes + self.starts.nbytes + order

    def rows_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of positions; a negative position, or one without a row, gives -1."""
        if self.order is None:
            return np.where(positions < self.rows, positions, -1)
        rows = self.order[np.maximum(positions, 0)].astype(np.int64)
        return np.where((positions >= 0) & (rows != NOWHERE), rows, -1)


def empty_codes(
    rows: int,
    head_dims: int,
    body_dims: int,
    starts: NDArray[np.int64] | None = None,
    order: NDArray[np.uint32] | None = None,
) -> SketchCodes:
    """Room for `rows` rows; head_dims is a multiple of 8, body_dims of 2."""
    if head_dims < 8 or head_dims % 8 or body_dims < 0 or body_dims % 2:
        raise ValueError(
            f"A sketch has a multiple of 8 coordinates in its head and an even number in its body, "
            f"got {head_dims} and {body_dims}."
        )
    if rows >= NOWHERE - ROWS16:
        raise ValueError(f"A sketch numbers its rows with 32 bits, got {rows} rows.")
    if starts is None:
        starts = np.array([0, -(-rows // ROWS16)], np.int64)
    blocks = int(starts[-1])
    # empty, then filled: numpy asks for huge pages only for the former, and single rows of the body
    # cost a page walk each without them.
    head = np.empty((blocks, head_dims // 8, 64), np.uint8)
    body = np.empty((blocks * ROWS16, body_dims // 2), np.uint8)
    head.fill(0)
    body.fill(0)
    return SketchCodes(rows, head, body, starts, order)
