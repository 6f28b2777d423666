"""MaxSim over codes: documents of several rows, questions of several vectors."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.source import Source
from attar.stores.kernels.library import native_level, thread_count
from attar.stores.kernels.maxsim import native, reference
from attar.stores.types import Float32, Query


def best_in_groups(
    codes: Source,
    query: Query,
    starts: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Float32:
    """Best canonical score of each query vector within each group of rows: float32 [m g].

    starts: int64 [g + 1], ascending from 0 to n; rows starts[i] … starts[i + 1] - 1 are group i.
    allowed: bool [n], the rows that count. A group without one gets minus infinity. Every `impl`
    gives the same bits; layouts without a native decoder are read by numpy.
    """
    whole = len(starts) > 0 and starts[0] == 0 and starts[-1] == len(codes)
    if not whole or bool((np.diff(starts) < 0).any()):
        raise ValueError(f"starts ascends from 0 to {len(codes)}, the number of rows.")
    level = native_level(impl) if codes.native or impl not in ("auto", "native") else None
    if level is None:
        return reference.best_in_groups(codes, query, starts, allowed)
    return native.best_in_groups(codes, query, starts, allowed, level, thread_count(threads))


def sum_of_best(best: Float32, asked: NDArray[np.int64]) -> Float32:
    """MaxSim float32 [a g]: the sum of the rows asked[i] … asked[i + 1] - 1 of `best` [m g].

    One after the other, so that the result does not depend on how numpy adds.
    """
    result = np.zeros((len(asked) - 1, best.shape[1]), np.float32)
    for i, (first, last) in enumerate(zip(asked[:-1], asked[1:], strict=True)):
        for row in best[first:last]:
            result[i] += row
    return result
