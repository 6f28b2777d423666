"""What goes into the sketch operations and what comes out."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

WIDE = 127 * 128
NARROW = 127
EIGHT = 8


@dataclass(frozen=True)
class SketchQuery:
    """Integer queries: head int32 [m s], body int32 [m t]; coordinate = integer * scale [m].

    wide: the head has 15 bits, read as two int8 planes; narrow heads have 8 bits, one plane.
    Bodies have 15 bits always.
    """

    head: NDArray[np.int32]
    body: NDArray[np.int32]
    head_scale: Float32
    body_scale: Float32
    wide: bool

    def __len__(self) -> int:
        return len(self.head)


def quantized(weights: Float32, head_dims: int, wide: bool) -> SketchQuery:
    """Weights float32 [m, s + t] of the levels to integers; a wide head shares its body's scale."""
    size = np.abs(weights).max(axis=1, initial=0)
    scale = np.maximum(size / WIDE, np.float32(1e-30)).astype(np.float32)
    exact = np.rint(weights / scale[:, None]).astype(np.int32)
    head, body = exact[:, :head_dims], exact[:, head_dims:]
    if wide:
        return SketchQuery(head, body, scale, scale, True)
    part = weights[:, :head_dims]
    size = np.abs(part).max(axis=1, initial=0)
    coarse = np.maximum(size / NARROW, np.float32(1e-30)).astype(np.float32)
    return SketchQuery(np.rint(part / coarse[:, None]).astype(np.int32), body, coarse, scale, False)


def planes(integers: NDArray[np.int32]) -> NDArray[np.int8]:
    """Integers [m s] of 15 bits as int8 [m 2 s]: 128 * high + low, low in -64 … 63."""
    high = (integers + 64) >> 7
    return np.ascontiguousarray(np.stack([high, integers - 128 * high], axis=1).astype(np.int8))


def eights(integers: NDArray[np.int32]) -> NDArray[np.int8]:
    """Integers [m s] of 8 bits as int8 [ceil(m / 8), s / 8, 2, 8, 4], zeros behind the last."""
    m, s = integers.shape
    full = np.zeros((-(-m // EIGHT) * EIGHT, s), np.int8)
    full[:m] = integers
    parts = full.reshape(-1, EIGHT, s // 8, 2, 4).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(parts)


@dataclass(frozen=True)
class Candidates:
    """rows int64 [m c] and their head scores int32 [m c], in no particular order."""

    rows: NDArray[np.int64]
    scores: NDArray[np.int32]

    @classmethod
    def empty(cls, m: int, count: int) -> Self:
        """Room for `count` candidates a query."""
        return cls(np.empty((m, count), np.int64), np.empty((m, count), np.int32))


@dataclass(frozen=True)
class EncodePlan:
    """Which coordinate each nibble of a sketch codes, and in what unit.

    axis int32 [s + t], an axis may come again: then the nibble codes what is left of it. spread
    float32 [s + t]. The head uses the first head_axes coordinates and no others.
    """

    axis: NDArray[np.int32]
    spread: Float32
    head_axes: int


@dataclass(frozen=True)
class Errors:
    """How far a row may be from its sketch, in steps: step k of row i stands for k * unit[i].

    steps uint8 [4, n'], n' = n rounded up to a multiple of 16: head error, head rest, body error,
    body rest, each rounded up to a whole step.
    """

    steps: NDArray[np.uint8]
    unit: Float32


@dataclass(frozen=True)
class Reach:
    """Bounds of one query: a row is out when scale * score + error * steps + rest * steps < floor.

    head_floor and body_floor already contain the query's constants and the rounding slack.
    """

    head_floor: float
    head_error: float
    head_rest: float
    body_floor: float
    body_error: float
    body_rest: float
