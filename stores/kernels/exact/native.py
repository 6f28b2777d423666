"""The native exact scan behind ctypes; semantics in `reference`."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.source import Source, struct_of
from attar.stores.kernels.exact.top import Top
from attar.stores.kernels.library import bitmap, loaded, pointer
from attar.stores.types import Float32, Query

LANES = 16


def padded(query: Query) -> tuple[Float32, Float32]:
    """Coordinates [m e'] with zeros up to a multiple of 16 columns, and constants [m]."""
    m, dim = query.coords.shape
    coords = np.zeros((m, -(-dim // LANES) * LANES), np.float32)
    coords[:, :dim] = query.coords
    return coords, np.ascontiguousarray(query.const, np.float32)


def top(
    codes: Source,
    query: Query,
    k: int,
    allowed: NDArray[np.bool_] | None,
    level: int,
    threads: int,
) -> Top:
    """The k best rows of each query; `codes.native` must hold."""
    coords, const = padded(query)
    m = len(coords)
    mask = None if allowed is None else bitmap(allowed)
    matches = len(codes) if allowed is None else int(np.count_nonzero(allowed))
    k = min(k, matches)
    found = Top(np.empty((m, k), np.int64), np.empty((m, k), np.float32), np.zeros(m, bool))
    if m == 0 or k == 0:
        return found
    counts, dropped = np.empty(m, np.int64), np.empty(m, np.float32)
    loaded().attar_exact_top(
        ctypes.byref(struct_of(codes)),
        pointer(coords),
        pointer(const),
        ctypes.c_int64(m),
        ctypes.c_int64(coords.shape[1]),
        pointer(mask),
        ctypes.c_int64(k),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(found.rows),
        pointer(found.scores),
        pointer(counts),
        pointer(dropped),
    )
    if (counts < k).any():
        raise ValueError("A score is not a number: codes or queries hold NaN.")
    found.cut[:] = dropped == found.scores[:, -1]
    return found


def row_scores(
    codes: Source, query: Query, rows: NDArray[np.int64], level: int, threads: int
) -> Float32:
    """Canonical scores [m c] of rows [m c]; a negative row scores minus infinity."""
    coords, const = padded(query)
    rows = np.ascontiguousarray(rows, np.int64)
    result = np.empty(rows.shape, np.float32)
    if rows.size and int(rows.max()) >= len(codes):
        raise ValueError(f"Rows are below {len(codes)}, got {int(rows.max())}.")
    loaded().attar_exact_scores(
        ctypes.byref(struct_of(codes)),
        pointer(coords),
        pointer(const),
        ctypes.c_int64(len(coords)),
        ctypes.c_int64(coords.shape[1]),
        pointer(rows),
        ctypes.c_int64(rows.shape[1]),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(result),
    )
    return result


def levels(codes: Source, rows: slice | NDArray[np.int64], level: int, threads: int) -> Float32:
    """Levels y [c e] of a range of rows or of given ones."""
    given = rows if isinstance(rows, np.ndarray) else None
    if isinstance(rows, slice):
        first, last, _ = rows.indices(len(codes))
        count = max(last - first, 0)
    else:
        first, count = 0, len(rows)
    y = np.empty((count, codes.layout.dim), np.float32)
    loaded().attar_exact_levels(
        ctypes.byref(struct_of(codes)),
        pointer(given),
        ctypes.c_int64(first),
        ctypes.c_int64(count),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(y),
    )
    return y
