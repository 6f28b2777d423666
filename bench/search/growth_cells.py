"""What an approximate search in cells costs from a million vectors to four, at one recall.

Every size has the cells that `Store.cluster` would make for it (`clustering.cells_for`) and the
widths that it would calibrate for the wanted recall of the exact top-10 of the codes, which is then
measured on other queries. The codes are those of `search/growth`; nothing else is kept, so that
what is measured is what today's code builds.
"""

from typing import Any

from attar.stores.cascade.calibration import calibrated
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import approximate
from attar.stores.clustering import cells_for
from attar.stores.kernels.exact import exact_top, source
from attar.stores.kernels.library import best_level
from bench.registry import Result, bench
from bench.search.arms import overlap
from bench.search.flat import bar
from bench.search.growth import ROUNDS, SEED, generated, measured, questions

RECALL = 0.98


@bench("search/growth_cells", gate="tests/stores/cascade")
def growth_cells(quick: bool) -> Result:
    """CPU milliseconds per query at 1, 2 and 4 million vectors, int8, in cells, recall .98."""
    most, rounds = (400_000, 3) if quick else (4_000_000, ROUNDS)
    codec, codes = generated(most)
    query = questions(codec)
    rows: list[dict[str, Any]] = []
    parts, widths = {}, {}
    for n in (most // 4, most // 2, most):
        held = source(codec.layout, codes[:n])
        parts[n] = Cascade.build(held, gram_of(codec), cells=cells_for(n))
        widths[n] = calibrated(parts[n], RECALL)
        truth = exact_top(held, query, 10).rows
        recall = overlap(approximate(parts[n], query, 10, widths[n]).rows, truth)
        w = widths[n]
        row = {"vectors": n, "cells": len(parts[n].frame.cells)}
        row |= {"margin": w.margin, "head/body": f"{w.head}/{w.body}"}
        rows.append(row | {"recall@10 of the codes": round(recall, 4)})
    bars = {}
    for batch in (1, 16, 256):
        got = measured(parts, rows, query, batch, len(query), rounds, widths)
        text = f"sublinear in cells: exponent < 1 from {most // 4:,} to {most:,}, batch {batch}"
        bars[f"(f) cells b{batch}"] = bar(text, got, got < 1)
    setup = {
        "data": f"bench/search/generator.py, the first {most} vectors of seed {SEED}; 256 queries "
        "drawn from the same world plus .8 of noise",
        "clock": f"CPU ms per query, one thread, {rounds} interleaved rounds, {best_level()}",
        "widths": f"cascade.calibration.calibrated(index, {RECALL}) of each size by its own "
        "questions; recall of the 256 queries against the exact top 10 of the codes",
    }
    return Result(rows, setup, bars)
