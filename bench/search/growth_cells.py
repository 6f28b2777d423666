"""What an approximate search in cells costs from a million vectors to four, at one recall.

Every size has the cells that `Store.cluster` would make for it (`clustering.cells_for`), with two
widths: the cheapest of a fine grid that reach the wanted recall of the exact top-10 of the codes on
256 queries, and those that a store would calibrate by its own questions. Recall is then measured on
other queries. The codes are those of `search/growth`; nothing else is kept, so that what is
measured is what today's code builds.
"""

from typing import Any

from attar.stores.cascade.calibration import calibrated
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import Widths, approximate
from attar.stores.clustering import cells_for
from attar.stores.kernels.exact import exact_top, source
from attar.stores.kernels.library import best_level
from attar.stores.types import Query
from bench.registry import Result, bench
from bench.search.arms import cheapest, overlap
from bench.search.flat import bar
from bench.search.growth import ROUNDS, SEED, generated, measured, questions

RECALL = 0.98
MARGINS = tuple(round(0.025 * step, 3) for step in range(29))


def fitted(index: Cascade, query: Query) -> Widths:
    """The widths that reach the recall for these queries in the least CPU time."""
    truth = exact_top(index.source, query, 10).rows
    widths = cheapest(index, query, MARGINS, lambda rows: overlap(rows, truth) >= RECALL)
    if widths is None:
        raise ValueError(f"No widths reach {RECALL}.")
    return widths


@bench("search/growth_cells", gate="tests/stores/cascade")
def growth_cells(quick: bool) -> Result:
    """CPU milliseconds per query at 1, 2 and 4 million vectors, int8, in cells, recall .98."""
    most, rounds = (400_000, 3) if quick else (4_000_000, ROUNDS)
    codec, codes = generated(most)
    query, other = questions(codec), questions(codec, 3)
    rows: dict[str, list[dict[str, Any]]] = {"cheapest": [], "a store's": []}
    widths: dict[str, dict[int, Widths]] = {kind: {} for kind in rows}
    parts = {}
    for n in (most // 4, most // 2, most):
        held = source(codec.layout, codes[:n])
        parts[n] = Cascade.build(held, gram_of(codec), cells=cells_for(n))
        truth = exact_top(held, query, 10).rows
        widths["cheapest"][n] = fitted(parts[n], other)
        widths["a store's"][n] = calibrated(parts[n], RECALL)
        for kind, some in rows.items():
            w = widths[kind][n]
            recall = overlap(approximate(parts[n], query, 10, w).rows, truth)
            row = {"vectors": n, "cells": len(parts[n].frame.cells), "widths": kind}
            row |= {"margin": w.margin, "head/body": f"{w.head}/{w.body}"}
            some.append(row | {"recall@10 of the codes": round(recall, 4)})
    bars = {}
    for kind, some in rows.items():
        for batch in (1, 16, 256):
            got = measured(parts, some, query, batch, len(query), rounds, widths[kind])
            text = f"exponent < 1 in cells, {most // 4:,} to {most:,}, {kind} widths, batch {batch}"
            bars[f"(f) {kind} b{batch}"] = bar(text, got, got < 1)
    setup = {
        "data": f"bench/search/generator.py, the first {most} vectors of seed {SEED}; 256 queries "
        "drawn from the same world plus .8 of noise",
        "clock": f"CPU ms per query, one thread, {rounds} interleaved rounds, {best_level()}",
        "widths": f"cheapest: of a grid that reach {RECALL} on 256 other queries; a store's: "
        f"cascade.calibration.calibrated(index, {RECALL}), by its own 64 questions. Recall of the "
        "256 queries against the exact top 10 of the codes",
    }
    return Result(rows["cheapest"] + rows["a store's"], setup, bars)
