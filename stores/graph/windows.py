"""How large a pool a wanted recall takes, measured on the codes.

Questions and aim are those of `attar.stores.cascade.calibration`: the sums of two documents, and a
third of the way from what is wanted to one.
"""

from dataclasses import dataclass, field

import numpy as np

from attar.stores.cascade.calibration import RECALLS, Exam, least_enough
from attar.stores.graph.index import GraphIndex
from attar.stores.graph.search import walked

LADDER = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
"""Beyond the last a scan of sketches is the better choice."""


@dataclass
class Windows:
    """Pools by wanted recall; recalls that no pool of the ladder reaches are left out."""

    known: dict[float, int] = field(default_factory=dict)

    def get(self, recall: float) -> int | None:
        """The pool for the least known recall that is enough."""
        return least_enough(self.known, recall)

    def rows(self) -> list[list[float]]:
        """Plain values, for JSON."""
        return [[recall, window] for recall, window in sorted(self.known.items())]

    @classmethod
    def of_rows(cls, rows: list[list[float]]) -> "Windows":
        """The inverse of `rows`."""
        return cls({recall: int(window) for recall, window in rows})


def windows(
    index: GraphIndex, asked: Exam, recalls: tuple[float, ...] = RECALLS, threads: int | None = 1
) -> Windows:
    """The smallest pool of the ladder for each recall."""
    k = asked.truth.shape[1]
    found, left = Windows(), sorted(recalls)
    for window in LADDER:
        top = walked(index, asked.query, k, window, threads=threads)
        share = 0.0 if top is None else float(np.mean(top.scores >= asked.truth[:, -1:]))
        while left and share >= left[0] + (1 - left[0]) / 3:
            found.known[left.pop(0)] = window
    return found
