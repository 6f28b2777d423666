"""Late interaction in numpy, the truth that other implementations reproduce bit for bit.

best(q, g) = max over the rows c of group g of score(q, c), the score of `stores.score`. MaxSim of a
question with several vectors is the sum of best(q, g) over its vectors, in float32, in their order
(ColBERT, arXiv 2004.12832, equation 3).
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.source import Source
from attar.stores.score import scores
from attar.stores.types import Float32, Query

BLOCK = 1 << 14


def best_in_groups(
    codes: Source, query: Query, starts: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> Float32:
    """Float32 [m g]; a group without an allowed row gets minus infinity."""
    groups = len(starts) - 1
    result = np.full((len(query), groups), -np.inf, np.float32)
    owner = np.repeat(np.arange(groups), np.diff(starts))
    for first in range(0, len(codes), BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(codes)))
        if allowed is not None:
            rows = rows[allowed[rows]]
        norm = None if codes.sqnorm is None else codes.sqnorm[rows]
        levels = codes.layout.unpack(codes.codes[rows])
        for q in range(len(query)):
            found = scores(query.coords[q], query.const[q], levels, norm)
            np.maximum.at(result[q], owner[rows], found)
    return result
