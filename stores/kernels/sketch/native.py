"""The native sketch operations behind ctypes; semantics in `reference`."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import loaded, pointer
from attar.stores.kernels.sketch.codes import (
    LEVEL,
    ROWS16,
    THRESHOLDS,
    VALUES,
    SketchCodes,
)
from attar.stores.kernels.sketch.plan import (
    Candidates,
    EncodePlan,
    Errors,
    Reach,
    SketchQuery,
    planes,
)
from attar.stores.types import Float32

I32, I64 = ctypes.c_int32, ctypes.c_int64


class ReachStruct(ctypes.Structure):
    """`Reach` of blocks.h."""

    _fields_ = tuple(
        (f"{part}_{name}", ctypes.c_float)
        for part in ("head", "body")
        for name in ("scale", "floor", "error", "rest")
    )


class BlocksStruct(ctypes.Structure):
    """`Blocks` of blocks.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("count", I64),
        ("rows", I64),
        ("groups", I64),
        ("lut", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("cells", I64),
    )


def blocks(codes: SketchCodes, mask: NDArray[np.uint8] | None) -> BlocksStruct:
    """The struct that points into codes and mask; the caller keeps both alive."""
    return BlocksStruct(
        pointer(codes.head).value,
        len(codes.head),
        codes.rows,
        codes.head.shape[1],
        pointer(LEVEL).value,
        pointer(codes.order).value,
        pointer(mask).value,
        pointer(codes.starts).value,
        codes.cells,
    )


def encode(
    a: Float32, plan: EncodePlan, into: SketchCodes, first: int, threads: int
) -> tuple[Float32, Float32]:
    """As reference.encode."""
    a = np.ascontiguousarray(a, np.float32)
    head_error, body_error = np.empty(len(a), np.float32), np.empty(len(a), np.float32)
    loaded().attar_sketch_encode(
        pointer(a),
        I64(len(a)),
        I64(a.shape[1]),
        I64(plan.head_axes),
        I64(into.head.shape[1]),
        I64(into.body.shape[1]),
        pointer(plan.axis),
        pointer(plan.spread),
        pointer(THRESHOLDS),
        pointer(VALUES),
        I64(first),
        pointer(into.head),
        pointer(into.body),
        pointer(head_error),
        pointer(body_error),
        I32(threads),
    )
    return head_error, body_error


def row_bits(allowed: NDArray[np.bool_] | None) -> NDArray[np.uint8] | None:
    """Bits of the allowed rows, padded to whole blocks of 16."""
    if allowed is None:
        return None
    bits = np.zeros(2 * -(-len(allowed) // ROWS16), np.uint8)
    packed = np.packbits(allowed, bitorder="little")
    bits[: len(packed)] = packed
    return bits


def top(
    codes: SketchCodes,
    query: SketchQuery,
    wanted: int,
    allowed: NDArray[np.bool_] | None,
    level: int,
    threads: int,
) -> Candidates:
    """As reference.top."""
    matches = codes.rows if allowed is None else int(np.count_nonzero(allowed))
    found = Candidates.empty(len(query), min(wanted, matches))
    if found.positions.size == 0:
        return found
    queries = planes(query.head) if query.wide else np.ascontiguousarray(query.head, np.int8)
    mask = row_bits(allowed)
    loaded().attar_sketch_top(
        ctypes.byref(blocks(codes, mask)),
        pointer(queries),
        I64(len(query)),
        I32(query.wide),
        pointer(query.offsets),
        pointer(query.hopes),
        I64(query.first),
        I64(query.results),
        I64(found.positions.shape[1]),
        I32(threads),
        I32(level),
        pointer(found.positions),
        pointer(found.scores),
        pointer(found.counts),
    )
    return found


def select(
    codes: SketchCodes,
    query: SketchQuery,
    found: Candidates,
    kept: int,
    level: int,
    threads: int,
) -> NDArray[np.int64]:
    """As reference.select."""
    m, count = found.positions.shape
    kept = min(kept, count)
    chosen = np.empty((m, kept), np.int64)
    queries = planes(query.body)
    loaded().attar_sketch_select(
        pointer(codes.body),
        I64(codes.body.shape[1]),
        pointer(LEVEL),
        pointer(found.positions),
        pointer(found.scores),
        pointer(found.counts),
        I64(m),
        I64(count),
        pointer(queries),
        pointer(query.head_scale),
        pointer(query.body_scale),
        I64(kept),
        I32(threads),
        I32(level),
        pointer(chosen),
    )
    return chosen


def reach(
    codes: SketchCodes,
    query: SketchQuery,
    errors: Errors,
    floor: Reach,
    allowed: NDArray[np.bool_] | None,
    level: int,
    threads: int,
) -> tuple[NDArray[np.int64], int]:
    """As reference.reach."""
    at = np.empty(len(codes.body), np.int64)
    passed = np.zeros(1, np.int64)
    head, body = planes(query.head), planes(query.body)
    mask = row_bits(allowed)
    struct = ReachStruct(
        query.head_scale[0],
        0.0,
        floor.head_error,
        floor.head_rest,
        query.body_scale[0],
        0.0,
        floor.body_error,
        floor.body_rest,
    )
    call = loaded().attar_sketch_reach
    call.restype = I64
    count = call(
        ctypes.byref(blocks(codes, mask)),
        pointer(codes.body),
        I64(codes.body.shape[1]),
        pointer(errors.steps),
        pointer(head),
        pointer(body),
        ctypes.byref(struct),
        pointer(floor.cells),
        pointer(floor.head_floor),
        pointer(floor.body_floor),
        I64(len(floor.cells)),
        I32(threads),
        I32(level),
        pointer(at),
        pointer(passed),
    )
    return at[:count].copy(), int(passed[0])
