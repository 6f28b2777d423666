"""The native walk behind ctypes; semantics in `reference`."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.native import padded
from attar.stores.kernels.exact.near import has_bytes, padded_table, small
from attar.stores.kernels.exact.source import Source, struct_of
from attar.stores.kernels.exact.top import Top
from attar.stores.kernels.library import bitmap, loaded, pointer
from attar.stores.kernels.walk.graph import Graph, Pool
from attar.stores.types import Query


class GraphStruct(ctypes.Structure):
    """`Graph` of native.cpp."""

    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("links", ctypes.c_void_p),
        ("entries", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("degree", ctypes.c_int64),
        ("entry_count", ctypes.c_int64),
    )


class RefinementStruct(ctypes.Structure):
    """`Refinement` of native.cpp."""

    _fields_ = (
        ("source", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("near", ctypes.c_void_p),
        ("near_scale", ctypes.c_void_p),
        ("constant", ctypes.c_void_p),
        ("coords", ctypes.c_void_p),
        ("wide", ctypes.c_int64),
        ("mask", ctypes.c_void_p),
        ("looked", ctypes.c_int64),
        ("kept", ctypes.c_int64),
    )


def struct(graph: Graph) -> GraphStruct:
    """The struct that points into a graph; the caller keeps it alive."""
    return GraphStruct(
        pointer(graph.codes).value,
        pointer(graph.links).value,
        pointer(graph.entries).value,
        len(graph),
        graph.codes.shape[1],
        graph.links.shape[1],
        len(graph.entries),
    )


def walk(
    graph: Graph, queries: NDArray[np.int8], window: int, level: int, threads: int
) -> NDArray[np.int64]:
    """As `walk` of the package."""
    queries = np.ascontiguousarray(queries, np.int8)
    best = np.empty((len(queries), window), np.int64)
    loaded().attar_walk(
        ctypes.byref(struct(graph)),
        pointer(queries),
        ctypes.c_int64(len(queries)),
        ctypes.c_int64(window),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(best),
    )
    return best


def top(
    graph: Graph,
    source: Source,
    queries: NDArray[np.int8],
    query: Query,
    pool: Pool,
    allowed: NDArray[np.bool_] | None,
    level: int,
    threads: int,
) -> Top:
    """As `walk_top` of the package."""
    queries = np.ascontiguousarray(queries, np.int8)
    coords, constant = padded(query)
    mask = None if allowed is None else bitmap(allowed)
    asked = small(source, query) if has_bytes(source) else None
    table = None if asked is None else padded_table(asked.table)
    codes = struct_of(source)
    refinement = RefinementStruct(
        ctypes.addressof(codes),
        pointer(table).value,
        None if asked is None else pointer(asked.queries).value,
        None if asked is None else pointer(asked.scale).value,
        pointer(constant).value,
        pointer(coords).value,
        coords.shape[1],
        pointer(mask).value,
        pool.looked,
        pool.kept,
    )
    m, k = len(queries), pool.k
    found = Top(np.empty((m, k), np.int64), np.empty((m, k), np.float32), np.zeros(m, bool))
    loaded().attar_walk_top(
        ctypes.byref(struct(graph)),
        ctypes.byref(refinement),
        pointer(queries),
        ctypes.c_int64(m),
        ctypes.c_int64(pool.window),
        ctypes.c_int64(k),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(found.rows),
        pointer(found.scores),
    )
    return found
