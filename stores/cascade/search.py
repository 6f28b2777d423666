"""Top-k through the cascade: cells, head, body, exact scores, and for `exact` the certificate.

Approximate, `widths` = (c, r, margin): in the cells that promise enough the head picks the c best
rows by an integer scan, the body the r best of them, integer arithmetic over the whole code a few
more than k of those, and `stores.score` ranks what is left. A cell promises

    <w, centre> + margin * |w| * spread        spread: root mean squared distance from its centre

The most promising sixty-fourth of the cells is looked into first, then those that promise at least
the k-th best score so far: one query looks into a few cells, another into hundreds.

Exact: the k-th score t that the approximate search found is a lower bound of the k-th best score of
all. With e and r the bounds of a document's sketch (error inside the sketched axes, length outside
of them) and w the query in the metric of the scores,

    score <= const + <w, centre> + sketch score + |w in the axes| * e + |w outside| * r + rounding

by the Cauchy-Schwarz inequality on either part. Cells whose radius keeps all of their documents
below t are out, then documents: by the head, by head and body, and by integer scores of the whole
code, whose rounding is bounded too; the others are scored.
Nothing is assumed about the data.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.index import Cascade
from attar.stores.kernels.exact import (
    Top,
    exact_near,
    exact_reach,
    exact_scores,
    exact_top,
)
from attar.stores.kernels.sketch import (
    Promises,
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

FIRST_SHARE, FIRST = 64, 4
"""One cell in so many, but at least so many, are looked into whatever the others promise."""

UNIT = 2.0**-24


@dataclass(frozen=True)
class Widths:
    """Candidates of head and body for each query; the margin of what cells promise, None: all.

    They are for ten results, which is what calibration asks for.
    """

    head: int = 1000
    body: int = 200
    margin: float | None = None

    def wide_enough(self, k: int) -> "Widths":
        """For k results: three more of the body and six more of the head for each beyond ten."""
        more = 3 * max(k - 10, 0)
        body = max(self.body, 2 * k) + more
        return Widths(max(self.head, body) + 2 * more, body, self.margin)


def approximate(
    index: Cascade,
    query: Query,
    k: int,
    widths: Widths,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Top:
    """The k best of what cells, head and body let through; scores are canonical.

    A filter that leaves a tenth of the rows has ten times as many cells looked into at first.
    """
    wide = widths.wide_enough(k)
    matches = len(index) if allowed is None else int(np.count_nonzero(allowed))
    if matches <= FEW * wide.body:
        return exact_top(index.source, query, k, allowed, threads, impl)
    w = index.frame.projection.metric.queries(query.coords)
    projection = index.frame.projection
    weights = projection.weights(projection.inside(w))
    cells = promises(index, w, weights, k, wide.margin, matches)
    planned = quantized(weights, projection.head_dims, len(query) == 1, cells)
    found = sketch_top(index.codes, planned, wide.head, allowed, threads, impl)
    if int(found.counts.min(initial=k)) < k:
        everywhere = replace(widths, margin=None)
        return approximate(index, query, k, everywhere, allowed, threads, impl)
    at = sketch_select(index.codes, planned, found, wide.body, threads, impl)
    rows = index.codes.rows_at(at)
    rows = exact_near(index.source, query, rows, scored(k), threads, impl)
    return ranked(rows, exact_scores(index.source, query, rows, threads, impl), k)


def scored(k: int) -> int:
    """Candidates that get a canonical score: integers order neighbours a little differently."""
    return k + k // 2 + 8


def promises(
    index: Cascade, w: Float32, weights: Float32, k: int, margin: float | None, matches: int
) -> Promises | None:
    """What the cells promise queries w [m e'] of k results among `matches` rows."""
    cells = index.frame.cells
    if len(cells) == 1:
        return None
    biases = cells.scores(w)
    few = max(len(cells) // FIRST_SHARE, FIRST)
    first = min(-(-few * len(index) // max(matches, 1)), len(cells))
    if margin is None:
        return Promises(biases, None, first, k)
    sizes = np.sqrt(np.einsum("me,me->m", w, w))
    # Levels count from zero: scores of the head are too large by this constant of the query.
    shift = weights[:, : index.frame.projection.head_dims].sum(axis=1) * np.float32(LOWEST / STEP)
    hopes = biases + np.float32(margin) * sizes[:, None] * index.spreads + shift[:, None]
    return Promises(biases, hopes, first, k)


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
        rows = exact_reach(index.source, alone, rows, floor, index.limits, threads, impl)
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
    """Rows of one query whose score may reach `floor`; how many the head let pass."""
    projection, centres = index.frame.projection, index.frame.cells.centres
    w32 = projection.metric.queries(query.coords)
    w = w32.astype(np.float64)[0]
    inside = w @ projection.axes.astype(np.float64)
    axis, spread = projection.plan.axis, projection.plan.spread.astype(np.float64)
    exact = inside[axis] * spread * STEP
    planned = quantized(exact[None].astype(np.float32), projection.head_dims, wide=True)
    integers = np.concatenate([planned.head, planned.body], axis=1)[0]
    off = np.abs(exact - integers * float(planned.head_scale[0])).sum() * float(LEVEL.max())
    size = float(np.sqrt(w @ w))
    bases = (w32 @ centres.T)[0].astype(np.float64) + float(query.const[0])
    # float32 in the kernel: a few roundings of numbers no larger than these; see scan/bound.py for
    # the canonical score's own gamma.
    gamma = 4 * (len(w) + 32) * UNIT
    scale = size * index.largest + float(np.abs(exact).sum()) * 63 + abs(float(query.const[0]))
    longest = index.frame.cells.longest
    slack = off + gamma * (scale + size * longest + abs(float(floor) if np.isfinite(floor) else 0))
    near = np.flatnonzero(bases + (1 + 1e-6) * size * index.radii >= floor - slack)
    bounds = _bounds(index, inside, size)
    shift = inside[axis] * spread * LOWEST
    head = projection.head_dims
    least = floor - bases[near] - slack
    reach = Reach(
        near.astype(np.int32),
        (least + shift[:head].sum()).astype(np.float32),
        (least + shift.sum()).astype(np.float32),
        *(float(one) for one in bounds),
    )
    at, passed = sketch_reach(index.codes, planned, index.errors, reach, allowed, threads, impl)
    return index.codes.rows_at(at), passed


def _bounds(index: Cascade, inside: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """|w in the axes|, |w outside| for the head and for head and body, times the byte's unit."""
    sizes = []
    for part in (inside[: index.frame.projection.plan.head_axes], inside):
        within = float(part @ part)
        # The axes are orthonormal to float32: a part in a hundred thousand covers it.
        sizes += [np.sqrt(within), np.sqrt(max(size * size - within, 0) + 1e-5 * size * size)]
    return np.array(sizes) * index.errors.unit.astype(np.float64) * (1 + 1e-6)
