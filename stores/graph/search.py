"""Top-k by a walk over the graph: the best rows of its pool, refined by the codes.

Integer arithmetic over the whole code chooses 2 k + 12 of them, `stores.score` ranks these: the
scores are canonical, as in every other search.
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.search import scored
from attar.stores.graph.index import GraphIndex
from attar.stores.kernels.exact import Top
from attar.stores.kernels.walk import Pool, walk_top
from attar.stores.types import Query

LOOKED, LOOKED_MORE = 4, 24
"""Of a pool at most 4 k + 24 rows are refined, the best by the leading coordinates."""


def walked(
    index: GraphIndex,
    query: Query,
    k: int,
    window: int,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Top | None:
    """The k best of the allowed rows that a walk with a pool of `window` rows meets.

    None where one of the queries met fewer than k.
    """
    window = max(window, 2 * k)
    pool = Pool(window, min(window, LOOKED * k + LOOKED_MORE), scored(k), k)
    asked = index.leading.queries(query.coords, impl)
    found = walk_top(index.graph, index.source, asked, query, pool, allowed, threads, impl)
    return None if len(found.rows) and found.rows.min(initial=0) < 0 else found
