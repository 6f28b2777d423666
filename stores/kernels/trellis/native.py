"""The native trellis search behind ctypes; semantics in `reference`."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import loaded, pointer
from attar.stores.kernels.trellis.reference import BINS, candidates, state_count, subsets
from attar.stores.layouts.waterfill import Waterfill, fine_start
from attar.stores.types import Float32


def quantise(
    u: Float32, layout: Waterfill, weight: Float32, level: int, threads: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """As `reference.quantise`, the same bits."""
    unit = np.ascontiguousarray(u, np.float32)
    cells, trellis = np.empty(unit.shape, np.uint8), np.empty(unit.shape, np.uint8)
    tables = [
        candidates(layout.fine[fine_start(width) : fine_start(width + 1)])
        for width in range(1, len(layout.counts) + 1)
    ]
    arrays: tuple[NDArray[Any], ...] = (
        subsets(layout.taps).astype(np.uint8),
        layout.widths.astype(np.int32),
        np.ascontiguousarray(weight, np.float32),
        np.stack([table.index for table in tables]),
        np.stack([table.level for table in tables]),
        np.array([table.reach for table in tables], np.float32),
        np.array([table.per_unit for table in tables], np.float32),
        unit,
        cells,
        trellis,
    )
    loaded().attar_trellis_quantise(
        ctypes.c_int32(level),
        ctypes.c_int32(threads),
        ctypes.c_int64(len(unit)),
        ctypes.c_int64(layout.dim),
        ctypes.c_int32(state_count(layout.taps)),
        ctypes.c_int32(BINS),
        *[pointer(array) for array in arrays],
    )
    return cells, trellis
