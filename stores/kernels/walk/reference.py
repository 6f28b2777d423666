"""The walk in numpy, one query after the other: the truth for the native one."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact import Source, Top, exact_near, exact_scores
from attar.stores.kernels.walk.graph import NOWHERE, Graph, Pool
from attar.stores.types import Query


def walk(graph: Graph, queries: NDArray[np.int8], window: int) -> NDArray[np.int64]:
    """As `walk` of the package."""
    best = np.full((len(queries), window), -1, np.int64)
    for q, query in enumerate(queries):
        rows = _walked(graph, query.astype(np.int32), window)
        best[q, : len(rows)] = rows
    return best


def _walked(graph: Graph, query: NDArray[np.int32], window: int) -> NDArray[np.int64]:
    met = np.zeros(len(graph), bool)
    expanded = np.zeros(len(graph), bool)
    pool, scores = np.zeros(0, np.int64), np.zeros(0, np.int32)
    fresh = np.unique(graph.entries).astype(np.int64)
    while True:
        met[fresh] = True
        pool = np.concatenate([pool, fresh])
        scores = np.concatenate([scores, graph.codes[fresh].astype(np.int32) @ query])
        order = np.lexsort((pool, -scores))[:window]
        pool, scores = pool[order], scores[order]
        waiting = pool[~expanded[pool]]
        if not len(waiting):
            return pool
        expanded[waiting[0]] = True
        links = graph.links[waiting[0]]
        linked = np.unique(links[links != NOWHERE]).astype(np.int64)
        fresh = linked[~met[linked]]


def top(
    graph: Graph,
    source: Source,
    queries: NDArray[np.int8],
    query: Query,
    pool: Pool,
    allowed: NDArray[np.bool_] | None,
) -> Top:
    """As `walk_top` of the package."""
    met = walk(graph, queries, pool.window)
    looked = np.full((len(met), pool.looked), -1, np.int64)
    for q, rows in enumerate(met):
        rows = rows[rows >= 0]
        rows = (rows if allowed is None else rows[allowed[rows]])[: pool.looked]
        looked[q, : len(rows)] = rows
    near = exact_near(source, query, looked, pool.kept, impl="numpy")
    scores = exact_scores(source, query, near, impl="numpy")
    order = np.lexsort((near, -scores))[:, : pool.k]
    rows, best = np.take_along_axis(near, order, 1), np.take_along_axis(scores, order, 1)
    short = max(pool.k - rows.shape[1], 0)
    rows = np.pad(rows, ((0, 0), (0, short)), constant_values=-1)
    best = np.pad(best, ((0, 0), (0, short)), constant_values=-np.inf)
    return Top(rows, best, np.zeros(len(rows), bool))
