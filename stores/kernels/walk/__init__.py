"""Best-first walk over a graph of rows: the rows of the best integer scores that it meets.

score(row) = sum_j q_j * c_j, q int8, c uint8: an exact int32, so that every implementation walks
the same way. The pool holds the `window` best rows met so far, by score, then by row. In turn the
best one that was not yet expanded is: its links that were never met are scored and enter the pool
if they are among the best. The walk ends when all of the pool are expanded (Malkov and Yashunin,
arXiv 1603.09320, algorithm 2; Subramanya et al., DiskANN, algorithm 1).

`links` uint32 [n r]: rows, NOWHERE behind the last one. `codes` uint8 [n g], g a multiple of 64:
whole cache lines.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact import Source, Top
from attar.stores.kernels.library import native_level, thread_count
from attar.stores.kernels.walk import native, reference
from attar.stores.kernels.walk.graph import LINE as LINE
from attar.stores.kernels.walk.graph import NOWHERE as NOWHERE
from attar.stores.kernels.walk.graph import Graph as Graph
from attar.stores.kernels.walk.graph import Pool as Pool
from attar.stores.kernels.walk.turn import Turn as Turn
from attar.stores.kernels.walk.turn import native_turned, reference_turned
from attar.stores.types import Float32, Query


def walk(
    graph: Graph,
    queries: NDArray[np.int8],
    window: int,
    threads: int | None = 1,
    impl: str = "auto",
) -> NDArray[np.int64]:
    """The best rows int64 [m window] for queries int8 [m g], best first, -1 behind the last."""
    if queries.ndim != 2 or queries.shape[1] != graph.codes.shape[1]:
        raise ValueError(f"Queries are [m {graph.codes.shape[1]}], got {list(queries.shape)}.")
    if window < 1:
        raise ValueError(f"window is at least 1, got {window}.")
    level = native_level(impl)
    if level is None:
        return reference.walk(graph, queries, window)
    return native.walk(graph, queries, window, level, thread_count(threads))


def walk_top(
    graph: Graph,
    source: Source,
    queries: NDArray[np.int8],
    query: Query,
    pool: Pool,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Top:
    """Walks, refined by the codes of the same rows: k columns, -1 behind those that were found.

    Of a pool the `looked` first allowed rows, of those the `kept` nearest by `exact_near`'s
    integers, of those the k best by canonical scores.
    """
    level = native_level(impl) if source.native or impl not in ("auto", "native") else None
    if level is None:
        return reference.top(graph, source, queries, query, pool, allowed)
    return native.top(graph, source, queries, query, pool, allowed, level, thread_count(threads))


def turned(turn: Turn, coords: Float32, impl: str = "auto") -> NDArray[np.int8]:
    """Prepared coordinates [m e] as the bytes [m g] that a walk scores by."""
    level = native_level(impl)
    return reference_turned(turn, coords) if level is None else native_turned(turn, coords, level)
