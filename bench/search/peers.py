"""QPS against recall: attar, faiss, turbovec, usearch, ScaNN, SVS; one query, one thread, 200k.

1. Every setting of every system once over the queries, one by one: recall and CPU seconds.
2. Of each system one setting that reaches recall .95 and .99, interleaved: batches of 1, 16
   and 256 on one thread (CPU), batches of 256 on two threads (wall).
"""

import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")


from attar.stores.kernels.library import best_level
from attar.stores.types import Float32
from bench.registry import Result, bench
from bench.search.arms import overlap, truth_of
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept
from bench.search.systems import System, systems

SEED = 2
WANTED = (0.95, 0.99)
SINGLE, ROUNDS = 64, 3
PICTURE = Path(__file__).parent.parent / "results" / "search_peers.svg"

Point = tuple[Any, float, float]


def sweep(system: System, asked: Float32, truth: Any, single: int = SINGLE) -> list[Point]:
    """Of every setting: it, recall over all queries, CPU seconds a query of `single` alone."""
    points = []
    for setting in system.settings:
        recall = overlap(system.search(asked, setting, 1), truth)
        start = time.process_time()
        for q in asked[:single]:
            system.search(q[None], setting, 1)
        points.append((setting, recall, (time.process_time() - start) / single))
    return points


def chosen(points: list[Point], wanted: float) -> Point | None:
    """The first that reaches the wanted recall where one number is set, else the fastest."""
    enough = [point for point in points if point[1] >= wanted]
    if not enough or all(isinstance(point[0], int) for point in enough):
        return enough[0] if enough else None
    return min(enough, key=lambda point: point[2])


def timed(arms: list[tuple[System, Any]], asked: Float32) -> list[dict[str, float]]:
    """Medians over interleaved rounds: QPS per CPU second; on two threads per second."""
    jobs = {"QPS b1": (1, 128, 1), "QPS b16": (16, 64, 1), "QPS b256": (256, 256, 1)}
    jobs["wall QPS b256, 2 threads"] = (256, 256, 2)
    seconds: list[dict[str, list[float]]] = [{name: [] for name in jobs} for _ in arms]
    for turn in range(ROUNDS + 1):
        for place, (system, setting) in enumerate(arms):
            for name, (batch, total, threads) in jobs.items():
                clock = time.process_time if threads == 1 else time.perf_counter
                start = clock()
                for first in range(0, total, batch):
                    system.search(asked[first : first + batch], setting, threads)
                if turn:
                    seconds[place][name].append((clock() - start) / total)
    return [
        {name: round(1 / statistics.median(s), 1) for name, s in one.items()} for one in seconds
    ]


def picture(curves: dict[str, list[Point]]) -> None:
    """QPS of single queries against recall, the best of every system up to each recall."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "attar", "font.size": 9}):
        figure = Figure(figsize=(7, 5))
        axes = figure.subplots()
        for name, points in sorted(curves.items()):
            front = [p for p in points if not any(o[1] > p[1] and o[2] < p[2] for o in points)]
            front.sort(key=lambda point: point[1])
            style = "o-" if name.startswith("attar") else ".--"
            axes.plot([p[1] for p in front], [1 / p[2] for p in front], style, label=name)
        axes.set(xlabel="recall@10", ylabel="queries per CPU second, one at a time", yscale="log")
        axes.set_xlim(0.8, 1.0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6)
        figure.savefig(PICTURE, metadata={"Date": None})


@bench("search/peers", gate="tests/stores/cascade")
def peers(quick: bool) -> Result:
    """200,000 x 768: every library that installs, at recall .95 and .99."""
    n = 200_000
    docs = documents(n, FOLDER, SEED)
    asked = queries(256, docs, SEED)
    truth, _ = kept(f"truth_{n}_{SEED}", lambda: truth_of(docs, asked))
    all_systems = systems(docs, n, SEED)
    curves = {
        one.name: kept(f"curve_{one.name}_{n}_{SEED}", lambda o=one: sweep(o, asked, truth))[0]
        for one in all_systems
    }
    arms, rows = [], []
    for system in all_systems:
        for wanted in WANTED:
            best = chosen(curves[system.name], wanted)
            row: dict[str, Any] = {"system": system.name, "for recall": wanted}
            if best is None:
                highest = max(point[1] for point in curves[system.name])
                rows.append(row | {"recall@10": f"at most {highest:.3f}"})
                continue
            row |= {"setting": str(best[0]), "recall@10": round(best[1], 4)}
            row |= {"B/vec RAM": round(system.ram, 1), **system.facts}
            arms.append((system, best[0], row))
            rows.append(row)
    # One setting may serve both recalls: it is timed once.
    once = {(system.name, str(setting)): (system, setting) for system, setting, _ in arms}
    times = dict(zip(once, timed(list(once.values()), asked), strict=True))
    for system, setting, row in arms:
        row |= times[system.name, str(setting)]
    if not quick:
        picture(curves)
    setup = {
        "data": f"bench/search/generator.py, {n} x 768, seed {SEED}, 256 queries",
        "clock": f"medians of {ROUNDS} interleaved rounds, CPU seconds, one thread, {best_level()}",
        "curves": {
            name: [[str(p[0]), round(p[1], 4), round(1 / p[2], 1)] for p in points]
            for name, points in curves.items()
        },
        "queries a curve": f"recall of 256, time of {SINGLE}",
    }
    return Result(rows, setup)
