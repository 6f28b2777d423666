"""Top-k through the cascade: head, body, exact scores, and for `exact` the certificate.

Approximate, `widths` = (c, r): the head picks the c best rows of an integer scan, the body the r
best of them, and `stores.score` ranks those.

Exact: the k-th score t that the approximate search found is a lower bound of the k-th best score of
all. With e and r the bounds of a document's sketch (error inside the sketched axes, length outside
of them) and w the query in the metric of the scores,

    score <= sketch score + |w in the axes| * e + |w outside| * r + rounding

by the Cauchy-Schwarz inequality on either part. Documents that stay below t are out, first by the
head, then by head and body; the others are scored. Nothing is assumed about the data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.index import Cascade
from attar.stores.kernels.exact import Top, exact_scores, exact_top
from attar.stores.kernels.sketch import (
    Reach,
    quantized,
    sketch_reach,
    sketch_select,
    sketch_top,
)
from attar.stores.kernels.sketch.codes import LEVEL, STEP
from attar.stores.kernels.sketch.codes import TOP as LOWEST
from attar.stores.types import Float32, Query

FEW = 4
"""Below this many times the body's width of allowed rows all of them are scored directly."""

UNIT = 2.0**-24


@dataclass(frozen=True)
class Widths:
    """Candidates of the head and of the body for each query."""

    head: int = 1000
    body: int = 200

    def at_least(self, k: int) -> "Widths":
        """Wide enough for k results."""
        body = max(self.body, 2 * k)
        return Widths(max(self.head, body), body)


def approximate(
    index: Cascade,
    query: Query,
    k: int,
    widths: Widths,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Top:
    """The k best of what head and body let through; scores are canonical."""
    widths = widths.at_least(k)
    matches = len(index) if allowed is None else int(np.count_nonzero(allowed))
    if matches <= FEW * widths.body:
        return exact_top(index.source, query, k, allowed, threads, impl)
    projection = index.projection
    weights = projection.weights(projection.inside(projection.metric.queries(query.coords)))
    planned = quantized(weights, projection.head_dims, wide=len(query) == 1)
    found = sketch_top(index.codes, planned, widths.head, allowed, threads, impl)
    rows = sketch_select(index.codes, planned, found, widths.body, threads, impl)
    rows.sort(axis=1)
    return ranked(rows, exact_scores(index.source, query, rows, threads, impl), k)


def ranked(rows: NDArray[np.int64], scores: Float32, k: int) -> Top:
    """The k best columns of each query; rows ascend, so a stable sort breaks ties by row."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, : k + 1]
    best = np.take_along_axis(scores, order, 1)
    cut = np.zeros(len(rows), bool)
    if best.shape[1] > k > 0:
        cut = best[:, k] == best[:, k - 1]
    return Top(np.take_along_axis(rows, order[:, :k], 1), best[:, :k], cut)


@dataclass(frozen=True)
class Certified:
    """Every row of one query whose score reaches its k-th best: rows ascending, scores."""

    rows: NDArray[np.int64]
    scores: Float32


def certified(
    index: Cascade,
    query: Query,
    k: int,
    widths: Widths,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> list[Certified]:
    """For each query all rows that reach the exact k-th best score, ties included."""
    first = approximate(index, query, k, widths, allowed, threads, impl)
    results = []
    for q in range(len(query)):
        alone = Query(query.coords[q : q + 1], query.const[q : q + 1])
        full = first.scores.shape[1] == k
        floor = float(first.scores[q, -1]) if full else -np.inf
        rows, _ = survivors(index, alone, floor, allowed, threads, impl)
        scores = exact_scores(index.source, alone, rows[None], threads, impl)[0]
        if len(scores) > k:
            reach = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
            rows, scores = rows[reach], scores[reach]
        results.append(Certified(rows, scores))
    return results


def survivors(
    index: Cascade,
    query: Query,
    floor: float,
    allowed: NDArray[np.bool_] | None,
    threads: int | None,
    impl: str,
) -> tuple[NDArray[np.int64], int]:
    """Rows of one query whose score may reach `floor`, ascending; how many the head let pass."""
    projection = index.projection
    w = projection.metric.queries(query.coords).astype(np.float64)[0]
    inside = w @ projection.axes.astype(np.float64)
    axis, spread = projection.plan.axis, projection.plan.spread.astype(np.float64)
    exact = inside[axis] * spread * STEP
    planned = quantized(exact[None].astype(np.float32), projection.head_dims, wide=True)
    integers = np.concatenate([planned.head, planned.body], axis=1)[0]
    off = np.abs(exact - integers * float(planned.head_scale[0])).sum() * float(LEVEL.max())
    size = float(np.sqrt(w @ w))
    # float32 in the kernel: a few roundings of numbers no larger than these; see scan/bound.py for
    # the canonical score's own gamma.
    gamma = 4 * (len(w) + 32) * UNIT
    scale = size * index.largest + float(np.abs(exact).sum()) * 63 + abs(float(query.const[0]))
    base = float(query.const[0]) + float(w @ projection.mean.astype(np.float64))
    slack = off + gamma * (scale + abs(base))
    bounds = _bounds(index, inside, size)
    shift = inside[axis] * spread * LOWEST
    head = projection.head_dims
    reach = Reach(
        floor - base + float(shift[:head].sum()) - slack,
        bounds[0],
        bounds[1],
        floor - base + float(shift.sum()) - slack,
        bounds[2],
        bounds[3],
    )
    return sketch_reach(index.codes, planned, index.errors, reach, allowed, threads, impl)


def _bounds(index: Cascade, inside: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """|w in the axes|, |w outside| for the head and for head and body, times the byte's unit."""
    sizes = []
    for part in (inside[: index.projection.plan.head_axes], inside):
        within = float(part @ part)
        # The axes are orthonormal to float32: a part in a hundred thousand covers it.
        sizes += [np.sqrt(within), np.sqrt(max(size * size - within, 0) + 1e-5 * size * size)]
    return np.array(sizes) * index.errors.unit.astype(np.float64) * (1 + 1e-6)
