"""How many candidates a wanted recall takes, measured on the codes themselves.

1. Sixty-four questions: the sum of two random documents each, unit weights. They lie between
   clusters, where neighbours are spread most, so that widths err on the generous side.
2. The exact top-k of the codes for each.
3. The first rung of a ladder of widths whose mean recall is a third of the way from what is wanted
   to one, since real questions differ from these; the last rung when none is.
"""

import numpy as np

from attar.stores.cascade.index import Cascade
from attar.stores.cascade.search import Widths, approximate
from attar.stores.kernels.exact import exact_top
from attar.stores.types import Float32, Query

QUESTIONS = 64
LADDER = tuple(
    Widths(head, body)
    for head, body in (
        (250, 50),
        (500, 100),
        (1000, 150),
        (1000, 300),
        (2000, 300),
        (3000, 400),
        (5000, 400),
        (8000, 400),
        (8000, 800),
        (16000, 800),
        (32000, 1600),
        (64000, 3200),
    )
)


def questions(index: Cascade, seed: int = 0) -> Query:
    """Prepared questions like those that documents would ask, const 0."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, len(index), (QUESTIONS, 2))
    source, metric = index.source, index.frame.projection.metric
    norms = None if source.sqnorm is None else source.sqnorm[pairs.ravel()]
    z = metric.documents(source.layout.unpack(source.codes[pairs.ravel()]), norms)
    w = z.reshape(QUESTIONS, 2, -1).sum(axis=1)
    coords = w[:, : source.layout.dim]
    root = metric.root
    q = coords * root if root.ndim == 1 else coords @ root.T
    return Query(np.asarray(q, np.float32), np.zeros(QUESTIONS, np.float32))


def recall_of(index: Cascade, query: Query, truth: Float32, k: int, widths: Widths) -> float:
    """Share of the exact top-k scores [m k] that these widths reach."""
    found = approximate(index, query, k, widths)
    return float(np.mean(found.scores >= truth[:, -1:]))


def calibrated(index: Cascade, recall: float, k: int = 10, seed: int = 0) -> Widths:
    """The narrowest rung of the ladder that reaches `recall` of the exact top-k of the codes."""
    if not 0 < recall <= 1:
        raise ValueError(f"recall lies in (0, 1], got {recall}.")
    k = min(k, len(index))
    query = questions(index, seed)
    truth = exact_top(index.source, query, k, threads=None).scores
    aim = recall + (1 - recall) / 3
    for widths in LADDER:
        if recall_of(index, query, truth, k, widths) >= aim:
            return widths
    return LADDER[-1]
