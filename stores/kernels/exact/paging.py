"""Exact operations over codes that stay on disk, a bounded number of pages at a time.

The results are those of one call: scores do not depend on how rows are grouped, and the best of
the best of all ranges are the best.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.top import Top
from attar.stores.types import Float32


@dataclass(frozen=True)
class Pager:
    """rows: how many scattered rows may be touched, and in_order: neighbours, before `release`."""

    rows: int
    in_order: int
    release: Callable[[], None]

    def scores(
        self, rows: NDArray[np.int64], score: Callable[[NDArray[np.int64]], Float32]
    ) -> Float32:
        """`score` of rows [m c], some columns at a time."""
        step = max(1, self.rows // max(len(rows), 1))
        parts = [np.empty((len(rows), 0), np.float32)]
        for first in range(0, rows.shape[1], step):
            parts.append(score(np.ascontiguousarray(rows[:, first : first + step])))
            self.release()
        return np.concatenate(parts, axis=1)

    def top(self, n: int, k: int, top: Callable[[slice], Top]) -> Top:
        """The k best of `top` over ranges of n rows, whose rows count from their range's first."""
        found: Top | None = None
        for first in range(0, n, self.in_order):
            part = top(slice(first, min(first + self.in_order, n)))
            self.release()
            part = Top(part.rows + first, part.scores, part.cut)
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
