"""Queries to the small codes' coordinates, in integers: the float matrix is five times as large.

1. q = unit * int16, unit = max |q| / w, w as large as sums in 32 bits allow.
2. a = (unit * scale) * float32(sum_j int16 * int8) + constant, scale and bytes those of the rows.
3. rint(a / (max |a| / 127)).

The sums are exact and the rest are single operations of float32, so that implementations agree.
"""

import ctypes
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import loaded, pointer
from attar.stores.types import Float32

WIDEST = 32_000
LEAST = np.float32(1e-30)


@dataclass(frozen=True)
class Turn:
    """rows int8 [g e] times scale float32 [g], constant float32 [g]."""

    rows: NDArray[np.int8]
    scale: Float32
    constant: Float32

    @classmethod
    def of(cls, matrix: Float32, constant: Float32) -> Self:
        """A matrix [g e] with a step for every row."""
        scale = np.maximum(np.abs(matrix).max(axis=1, initial=0) / 127, LEAST).astype(np.float32)
        rows = np.rint(matrix / scale[:, None]).astype(np.int8)
        return cls(rows, scale, np.ascontiguousarray(constant, np.float32))

    @property
    def widest(self) -> int:
        """The largest integer of a query."""
        return int(min(WIDEST, (2**31 - 1) // (128 * max(self.rows.shape[1], 1))))


def reference_turned(turn: Turn, coords: Float32) -> NDArray[np.int8]:
    """Queries float32 [m e] as bytes [m g]."""
    unit = np.abs(coords).max(axis=1, initial=0) / np.float32(turn.widest)
    unit = np.maximum(unit, LEAST)
    whole = np.rint(coords / unit[:, None]).astype(np.int32)
    sums = (whole @ turn.rows.T.astype(np.int32)).astype(np.float32)
    inside = (unit[:, None] * turn.scale) * sums + turn.constant
    size = np.maximum(np.abs(inside).max(axis=1, initial=0) / np.float32(127), LEAST)
    return np.asarray(np.rint(inside / size[:, None]), np.int8)


def native_turned(turn: Turn, coords: Float32, level: int) -> NDArray[np.int8]:
    """As `reference_turned`."""
    coords = np.ascontiguousarray(coords, np.float32)
    g, e = turn.rows.shape
    if coords.ndim != 2 or coords.shape[1] != e:
        raise ValueError(f"Queries are [m {e}], got {list(coords.shape)}.")
    result = np.empty((len(coords), g), np.int8)
    loaded().attar_walk_turned(
        pointer(turn.rows),
        pointer(turn.scale),
        pointer(turn.constant),
        ctypes.c_int64(g),
        ctypes.c_int64(e),
        ctypes.c_int32(turn.widest),
        pointer(coords),
        ctypes.c_int64(len(coords)),
        ctypes.c_int32(level),
        pointer(result),
    )
    return result
