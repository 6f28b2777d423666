"""The native trellis search behind ctypes; semantics in `reference`."""

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import loaded, pointer
from attar.stores.kernels.trellis.reference import (
    BINS,
    Paths,
    candidates,
    expected_errors,
    state_count,
    subsets,
)
from attar.stores.layouts.waterfill import Waterfill, fine_start
from attar.stores.types import Float32


@lru_cache(maxsize=64)
def _level_tables(content: bytes, widest: int) -> tuple[NDArray[Any], ...]:
    """index, level, reach, per_unit of `candidates` and both of `expected_errors`, by width."""
    fine = np.frombuffer(content, np.float32)
    parts = [fine[fine_start(width) : fine_start(width + 1)] for width in range(1, widest + 1)]
    tables = [candidates(part) for part in parts]
    errors = [expected_errors(part) for part in parts]
    return (
        np.stack([table.index for table in tables]),
        np.stack([table.level for table in tables]),
        np.array([table.reach for table in tables], np.float32),
        np.array([table.per_unit for table in tables], np.float32),
        np.stack([bins for bins, _ in errors]),
        np.array([outermost for _, outermost in errors], np.float32),
    )


def quantise(
    u: Float32, layout: Waterfill, weight: Float32, gains: Float32, level: int, threads: int
) -> Paths:
    """As `reference.quantise`, the same bits."""
    unit = np.ascontiguousarray(u, np.float32)
    n = len(unit)
    found = Paths(
        np.empty(unit.shape, np.uint8),
        np.empty(unit.shape, np.uint8),
        np.empty(n, np.uint8),
        np.empty(n),
        np.empty(n),
    )
    arrays: tuple[NDArray[Any], ...] = (
        subsets(layout.taps).astype(np.uint8),
        layout.widths.astype(np.int32),
        np.ascontiguousarray(weight, np.float32),
        *_level_tables(layout.fine.tobytes(), len(layout.counts)),
        gains,
        np.float32(1) / gains,
        unit,
        *found,
    )
    loaded().attar_trellis_quantise(
        ctypes.c_int32(level),
        ctypes.c_int32(threads),
        ctypes.c_int64(n),
        ctypes.c_int64(layout.dim),
        ctypes.c_int32(state_count(layout.taps)),
        ctypes.c_int32(BINS),
        ctypes.c_int32(len(gains)),
        *[pointer(array) for array in arrays],
    )
    return found
