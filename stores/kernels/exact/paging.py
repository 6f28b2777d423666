"""Exact operations over codes that stay on disk, a bounded number of rows at a time.

The results are those of one call: scores do not depend on how rows are grouped, and the best of
the best of all ranges are the best.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.top import Top
from attar.stores.types import Codes, Float32

COPIES = 4
"""Rows that are copied take up to so many times their bytes meanwhile."""


@dataclass(frozen=True)
class Pager:
    """How codes that stay on disk are read.

    rows: so many at once, whether copied or touched in their map before `release`. near: rows that
    lie closer than so many are not worth to be copied one by one. taken: copies of some rows,
    ascending, and of their squared norms.
    """

    rows: int
    near: int
    taken: Callable[[NDArray[np.int64]], tuple[Codes, Float32 | None]]
    release: Callable[[], None]

    def ranges(self, n: int) -> Iterator[slice]:
        """Ranges of n rows that may be touched one after the other."""
        for first in range(0, n, self.rows):
            yield slice(first, min(first + self.rows, n))
            self.release()

    def groups(self, n: int, wanted: NDArray[np.int64]) -> Iterator[slice | NDArray[np.int64]]:
        """Ranges of the n rows, or lists of them, that have all of the wanted ones, ascending."""
        if not len(wanted):
            return
        if len(wanted) * self.near > wanted[-1] - wanted[0]:
            for some in self.ranges(n):
                first, last = np.searchsorted(wanted, (some.start, some.stop))
                if last > first:
                    yield slice(int(wanted[first]), int(wanted[last - 1]) + 1)
            return
        step = max(1, self.rows // COPIES)
        for first in range(0, len(wanted), step):
            yield wanted[first : first + step]
            self.release()

    def top(self, n: int, k: int, top: Callable[[slice], Top]) -> Top:
        """The k best of `top` over ranges of n rows, whose rows count from their range's first."""
        found: Top | None = None
        for some in self.ranges(n):
            part = top(some)
            part = Top(part.rows + some.start, part.scores, part.cut)
            found = part if found is None else joined(found, part, k)
        return found if found is not None else top(slice(0, 0))


def joined(a: Top, b: Top, k: int) -> Top:
    """The k best of two disjoint sets of rows."""
    rows = np.concatenate([a.rows, b.rows], axis=1)
    scores = np.concatenate([a.scores, b.scores], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    best = np.take_along_axis(scores, order, 1)
    cut = np.zeros(len(rows), bool)
    if best.shape[1]:
        floor = best[:, -1:]
        cut = (scores >= floor).sum(axis=1) > best.shape[1]
        for one in (a, b):
            if one.scores.shape[1]:
                cut |= one.cut & (one.scores[:, -1] == floor[:, 0])
    return Top(np.take_along_axis(rows, order, 1), best, cut)
