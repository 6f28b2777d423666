"""The native maxima behind ctypes; semantics in `reference`."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.native import padded
from attar.stores.kernels.exact.source import Source
from attar.stores.kernels.library import bitmap, loaded, pointer
from attar.stores.types import Float32, Query


def best_in_groups(
    codes: Source,
    query: Query,
    starts: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None,
    level: int,
    threads: int,
) -> Float32:
    """As `reference.best_in_groups`, the same bits; `codes.native` must hold."""
    coords, const = padded(query)
    mask = None if allowed is None else bitmap(allowed)
    result = np.empty((len(coords), len(starts) - 1), np.float32)
    loaded().attar_maxsim(
        ctypes.byref(codes.struct),  # type: ignore[arg-type]
        pointer(coords),
        pointer(const),
        ctypes.c_int64(len(coords)),
        ctypes.c_int64(coords.shape[1]),
        pointer(np.ascontiguousarray(starts, np.int64)),
        ctypes.c_int64(len(starts) - 1),
        pointer(mask),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(result),
    )
    return result
