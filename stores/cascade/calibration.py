"""How many cells and candidates a wanted recall takes, measured on the codes themselves.

1. Sixty-four questions: the sum of two random documents each, unit weights. They lie between
   clusters, where neighbours are spread most, so that widths err on the generous side.
2. The exact top-k of the codes for each.
3. The aim is a third of the way from what is wanted to one, since real questions differ from
   these. Over all cells, the first rung of a ladder of widths whose mean recall is half-way between
   the aim and one; then the smallest share of the cells that reaches the aim.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from attar.stores.cascade.index import Cascade
from attar.stores.cascade.search import Widths, approximate
from attar.stores.kernels.exact import exact_levels, exact_top
from attar.stores.types import Float32, Query

Setting = TypeVar("Setting")

QUESTIONS = 64
RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
K = 10
LADDER = tuple(
    Widths(head, body)
    for head, body in (
        (250, 50),
        (250, 100),
        (300, 150),
        (500, 200),
        (1000, 300),
        (1000, 500),
        (1500, 800),
        (2000, 1000),
        (3000, 1500),
        (4000, 2000),
        (8000, 3000),
        (16000, 4000),
        (32000, 6000),
        (64000, 8000),
    )
)
MARGINS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 1.0)


def least_enough(known: Mapping[float, Setting], recall: float) -> Setting | None:
    """The setting for the least known recall that is enough."""
    enough = [one for one in known if one >= recall]
    return known[min(enough)] if enough else None


@dataclass
class Calibration:
    """Widths by wanted recall, as far as they are known."""

    widths: dict[float, Widths] = field(default_factory=dict)

    def get(self, recall: float) -> Widths | None:
        """Widths for the least known recall that is enough."""
        return least_enough(self.widths, recall)

    def rows(self) -> list[list[Any]]:
        """Plain values, for JSON."""
        return [[r, w.head, w.body, w.margin] for r, w in sorted(self.widths.items())]

    @classmethod
    def of_rows(cls, rows: list[list[Any]]) -> "Calibration":
        """The inverse of `rows`."""
        return cls({recall: Widths(head, body, margin) for recall, head, body, margin in rows})


@dataclass(frozen=True)
class Exam:
    """Questions for an index, and the scores float32 [m k] of their exact answers."""

    index: Cascade
    query: Query
    truth: Float32
    known: dict[Widths, float] = field(default_factory=dict)

    def recall(self, widths: Widths) -> float:
        """Share of the exact top-k scores that these widths reach, measured once."""
        if widths not in self.known:
            k = self.truth.shape[1]
            found = approximate(self.index, self.query, k, widths, threads=None)
            self.known[widths] = float(np.mean(found.scores >= self.truth[:, -1:]))
        return self.known[widths]


def questions(index: Cascade, seed: int = 0) -> Query:
    """Prepared questions like those that documents would ask, const 0."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, len(index), (QUESTIONS, 2))
    source, metric = index.source, index.frame.projection.metric
    norms = None if source.sqnorm is None else source.sqnorm[pairs.ravel()]
    z = metric.documents(exact_levels(source, pairs.ravel()), norms)
    w = z.reshape(QUESTIONS, 2, -1).sum(axis=1)
    coords = w[:, : source.layout.dim]
    root = metric.root
    q = coords * root if root.ndim == 1 else coords @ root.T
    return Query(np.asarray(q, np.float32), np.zeros(QUESTIONS, np.float32))


def exam(index: Cascade, k: int = K, seed: int = 0) -> Exam:
    """Questions and answers; scans all codes."""
    query = questions(index, seed)
    truth = exact_top(index.source, query, min(k, len(index)), threads=None)
    return Exam(index, query, truth.scores)


def calibrated(index: Cascade, recall: float, asked: Exam | None = None, seed: int = 0) -> Widths:
    """The narrowest widths that reach `recall` of the exact top-10 of the codes."""
    if not 0 < recall <= 1:
        raise ValueError(f"recall lies in (0, 1], got {recall}.")
    asked = exam(index, seed=seed) if asked is None else asked
    aim = recall + (1 - recall) / 3
    cells = len(index.frame.cells)
    over = aim if cells == 1 else (1 + aim) / 2
    enough = [w for w in LADDER if w.head < 2 * len(index)] or [LADDER[0]]
    reached = (w for least in (over, aim) for w in enough if asked.recall(w) >= least)
    widths = next(reached, enough[-1])
    for margin in MARGINS if cells > 1 else ():
        if asked.recall(some := replace(widths, margin=margin)) >= aim:
            return some
    return widths


def calibration(index: Cascade, recalls: tuple[float, ...] = RECALLS) -> Calibration:
    """Widths for several wanted recalls."""
    asked = exam(index)
    return Calibration({recall: calibrated(index, recall, asked) for recall in recalls})
