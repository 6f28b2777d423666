"""What goes into the sketch operations and what comes out."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

WIDE = 127 * 128
NARROW = 127
LARGEST = 1 << 30


@dataclass(frozen=True)
class Promises:
    """What the cells promise each query, in the unit of the weights.

    offsets [m c] is what scores in a cell lack, hopes [m c] what the best of them may be, or None:
    all cells are looked into. Else the `first` most promising are, then those that promise at least
    the `results`-th best score so far.
    """

    offsets: Float32
    hopes: Float32 | None
    first: int
    results: int


@dataclass(frozen=True)
class SketchQuery:
    """Integer queries: head int32 [m s], body int32 [m t]; coordinate = integer * scale [m].

    wide: the head has 15 bits, read as two int8 planes; narrow heads have 8 bits, one plane.
    Bodies have 15 bits always. offsets and hopes int32 [m c] are `Promises` in units of head_scale.
    """

    head: NDArray[np.int32]
    body: NDArray[np.int32]
    head_scale: Float32
    body_scale: Float32
    wide: bool
    offsets: NDArray[np.int32]
    hopes: NDArray[np.int32] | None
    first: int
    results: int

    def __len__(self) -> int:
        return len(self.head)


def quantized(
    weights: Float32, head_dims: int, wide: bool, cells: Promises | None = None
) -> SketchQuery:
    """Weights float32 [m, s + t] of the levels to integers; a wide head shares its body's scale.

    Without promises there is one cell, whose offset is zero.
    """
    if cells is None:
        cells = Promises(np.zeros((len(weights), 1), np.float32), None, 1, 1)
    largest = np.abs(cells.offsets).max(axis=1, initial=0)
    if cells.hopes is not None:
        largest = np.maximum(largest, np.abs(cells.hopes).max(axis=1, initial=0))
    least = np.maximum(largest / LARGEST, np.float32(1e-30))
    size = np.abs(weights).max(axis=1, initial=0)
    scale = np.maximum(size / WIDE, least).astype(np.float32)
    exact = np.rint(weights / scale[:, None]).astype(np.int32)
    head, body, coarse = exact[:, :head_dims], exact[:, head_dims:], scale
    if not wide:
        part = weights[:, :head_dims]
        size = np.abs(part).max(axis=1, initial=0)
        coarse = np.maximum(size / NARROW, least).astype(np.float32)
        head = np.rint(part / coarse[:, None]).astype(np.int32)

    def whole(values: Float32) -> NDArray[np.int32]:
        return np.asarray(np.rint(values / coarse[:, None]), np.int32)

    hopes = None if cells.hopes is None else whole(cells.hopes)
    first, results = cells.first, cells.results
    return SketchQuery(head, body, coarse, scale, wide, whole(cells.offsets), hopes, first, results)


def planes(integers: NDArray[np.int32]) -> NDArray[np.int8]:
    """Integers [m s] of 15 bits as int8 [m 2 s]: 128 * high + low, low in -64 … 63."""
    high = (integers + 64) >> 7
    return np.ascontiguousarray(np.stack([high, integers - 128 * high], axis=1).astype(np.int8))


@dataclass(frozen=True)
class Candidates:
    """positions int64 [m c] and their head scores int32 [m c], in no particular order.

    A query that found fewer has -1 behind the `counts` int64 [m] that it found.
    """

    positions: NDArray[np.int64]
    scores: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, m: int, count: int) -> Self:
        """Room for `count` candidates a query."""
        shape = (m, count)
        return cls(np.full(shape, -1, np.int64), np.zeros(shape, np.int32), np.zeros(m, np.int64))


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
    """How far a row may be from its sketch, in steps: step k of bound i stands for k * unit[i].

    steps uint8 [4, 16 blocks], by position: head error, head rest, body error, body rest, each
    rounded up to a whole step.
    """

    steps: NDArray[np.uint8]
    unit: Float32


@dataclass(frozen=True)
class Reach:
    """Bounds of one query: a row is out when scale * score + error * steps + rest * steps < floor.

    Floors, float32 [c], are those of the cells int32 [c] that are looked into, none twice; they
    already contain the query's constants and the rounding slack. Rows of other cells are out.
    """

    cells: NDArray[np.int32]
    head_floor: Float32
    body_floor: Float32
    head_error: float
    head_rest: float
    body_error: float
    body_rest: float
