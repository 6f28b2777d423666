"""Graphs for single queries: attar's over int8 codes against SVS Vamana LeanVec, 200,000 x 768.

1. Every pool of either once over the queries: recall@10 against float32.
2. For each recall the smallest pool of either that reaches it, interleaved, one query at a time,
   CPU seconds of one thread.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from attar.stores.kernels.library import best_level
from bench.machine import interleaved
from bench.registry import Result, bench
from bench.search.alone import sweep
from bench.search.arms import truth_of
from bench.search.flat import bar
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept
from bench.search.systems import System, opened

SEED = 2
RECALLS = (0.95, 0.97, 0.98, 0.985, 0.99)
SINGLE, ROUNDS = 128, 7


def one_by_one(system: System, setting: Any, asked: Any) -> None:
    """All queries, each in a call of its own."""
    for q in asked:
        system.search(q[None], setting, 1)


@bench("search/graph", gate="tests/stores/test_graph.py")
def graph(quick: bool) -> Result:
    """Single queries at equal recall."""
    n = 200_000
    docs = documents(n, FOLDER, SEED)
    asked, name = queries(256, docs, SEED), f"{n}_{SEED}"
    truth, _ = kept(f"truth_{name}", lambda: truth_of(docs, asked))
    both = [opened(one, n, SEED) for one in ("attar int8, graph", "SVS Vamana LeanVec192")]
    curves = {one.name: sweep(one, asked, truth, 1) for one in both}
    rows: list[dict[str, Any]] = []
    bars = {}
    for wanted in RECALLS:
        best = [next((p for p in curves[one.name] if p[1] >= wanted), None) for one in both]
        calls: dict[str, Callable[[], object]] = {
            one.name: partial(one_by_one, one, point[0], asked[:SINGLE])
            for one, point in zip(both, best, strict=True)
            if point is not None
        }
        times = interleaved(calls, 3 if quick else ROUNDS)
        for one, point in zip(both, best, strict=True):
            row: dict[str, Any] = {"system": one.name, "for recall": wanted}
            if point is not None:
                t = {key: 1000 * value / SINGLE for key, value in times[one.name].items()}
                row |= {"pool": point[0], "recall@10": round(point[1], 4)}
                row |= {"ms b1": round(t["median"], 4), "spread": f"{t['min']:.3f}-{t['max']:.3f}"}
                row |= {"B/vec": round(one.ram, 1), **one.facts}
            rows.append(row)
        if len(times) == 2:
            ours, svs = (times[one.name]["median"] for one in both)
            text = f"within .8x of SVS' queries per CPU second at recall {wanted}"
            bars[f"(d) graph {wanted}"] = bar(text, svs / ours, svs / ours >= 0.8)
    setup = {
        "data": f"bench/search/generator.py, {n} x 768, seed {SEED}, 256 queries",
        "clock": f"CPU ms per query, one at a time, {ROUNDS} interleaved rounds of {SINGLE}, "
        f"{best_level()}",
    }
    return Result(rows, setup, bars)
