"""The training sample of a corpus that is too large to hold: one pass over its ids.

The same documents that `attar.stores.sample` takes from a store: those whose id hashes lowest. They
depend on the ids alone, not on their order, nor on how a build is cut or spread over machines.
"""

import heapq
from collections.abc import Iterable

from attar.stores.sample import FIT_ROWS, id_hash


class Sample:
    """Membership test for the `limit` ids with the smallest hashes; `count` ids were seen."""

    def __init__(self, ids: Iterable[str], seed: int, limit: int = FIT_ROWS) -> None:
        self.seed = seed
        self.count = 0
        largest: list[int] = []  # a heap of negated hashes: the largest of the smallest on top
        for name in ids:
            self.count += 1
            negated = -id_hash(name, seed)
            if len(largest) < limit:
                heapq.heappush(largest, negated)
            elif negated > largest[0]:
                heapq.heapreplace(largest, negated)
        self.size = len(largest)
        self._threshold = -largest[0] if largest else -1

    def __contains__(self, name: str) -> bool:
        return id_hash(name, self.seed) <= self._threshold
