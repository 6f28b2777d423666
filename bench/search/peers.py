"""QPS against recall: attar, faiss, turbovec, usearch, ScaNN, SVS, at 200,000 and a million.

Every system is searched in a process of its own, which reads its index and nothing else.

1. Every setting of every system once over the queries, one by one: recall and CPU seconds. Nothing
   of this is kept: it depends on the code of today.
2. Of each system one setting that reaches recall .95 and .99, in turns of all systems: batches of
   1, 16 and 256 on one thread, batches of 256 on two.

What takes an hour to build at a million is measured when somebody built it before:
`python -m bench.search.building NAME 1000000 2`.
"""

import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

from attar.stores.kernels.library import best_level
from bench.registry import Result, bench
from bench.search.alone import ASKED, SINGLE, SLOW, Point, alone
from bench.search.arms import truth_of
from bench.search.building import PANORAMA, built, folder_of
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept
from bench.search.systems import names

SEED = 2
WANTED = (0.95, 0.99)
ROUNDS = 3
LONG = ("faiss HNSW32_SQ8", "usearch HNSW i8", "SVS Vamana LeanVec192")
BATCHES = ("b1", "b16", "b256")
RESULTS = Path(__file__).parent.parent / "results"


def chosen(points: list[Point], wanted: float, ordered: bool) -> int | None:
    """The first that reaches the wanted recall where one number is set, else the fastest."""
    enough = [which for which, point in enumerate(points) if point[1] >= wanted]
    if not enough or ordered:
        return enough[0] if enough else None
    return min(enough, key=lambda which: points[which][2])


def turns(
    arms: dict[str, list[int]], n: int, rounds: int
) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Times of every setting of every system, one list entry a round."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name, settings in arms.items():
            times = alone(name, n, SEED, settings)
            if name.startswith("turbovec"):
                for one, two in zip(times, alone(name, n, SEED, settings, 2), strict=True):
                    one["2 threads"] = two["2 threads"]
            for which, one in zip(settings, times, strict=True):
                found.setdefault((name, which), []).append(one)
    return found


def speeds(times: list[dict[str, Any]]) -> dict[str, float]:
    """Medians of queries a second: CPU seconds, then by the clock."""
    row = {}
    for place, kind in enumerate(("QPS", "wall QPS")):
        for job in times[0]:
            seconds = statistics.median(one[job][place] for one in times)
            name = "b256, 2 threads" if job == "2 threads" else job
            row[f"{kind} {name}"] = round(1 / seconds, 1)
    return row


def against_best(rows: list[dict[str, Any]]) -> None:
    """How many times a system's queries a CPU second the best of attar answers, by batch."""
    for wanted in WANTED:
        here = [row for row in rows if row.get("for recall") == wanted and "QPS b1" in row]
        own = [row for row in here if row["system"].startswith("attar")]
        for batch in BATCHES if own else ():
            best = max(row[f"QPS {batch}"] for row in own)
            for row in here:
                row[f"attar / it {batch}"] = round(best / row[f"QPS {batch}"], 2)


def picture(curves: dict[str, list[Point]], file: Path) -> None:
    """QPS of single queries against recall, the best of every system up to each recall."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "attar", "font.size": 9}):
        figure = Figure(figsize=(7, 5))
        axes = figure.subplots()
        axes.set_prop_cycle(color=mpl.colormaps["tab20"].resampled(20)(range(20)))
        for name, points in sorted(curves.items()):
            front = [p for p in points if not any(o[1] > p[1] and o[2] < p[2] for o in points)]
            front.sort(key=lambda point: point[1])
            style = "o-" if name.startswith("attar") else ".--"
            axes.plot([p[1] for p in front], [1 / p[2] for p in front], style, label=name)
        axes.set(xlabel="recall@10", ylabel="queries per CPU second, one at a time", yscale="log")
        axes.set_xlim(0.8, 1.0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6)
        figure.savefig(file, metadata={"Date": None})


def not_built(name: str, n: int) -> dict[str, Any]:
    """The row of a system without an index."""
    small = json.loads((RESULTS / "search_peers.json").read_text())["rows"]
    took = [r["build CPU s"] for r in small if r["system"] == name and "build CPU s" in r]
    known = f": {took[0]} CPU s at 200k" if took else ""
    return {"system": name, "recall@10": f"not built at {n}{known}"}


def measured(n: int, quick: bool, file: Path) -> Result:
    """All systems on n documents."""
    docs = documents(n, FOLDER, SEED)
    asked = queries(ASKED, docs, SEED)
    kept(f"truth_{n}_{SEED}", lambda: truth_of(docs, asked))
    rows: list[dict[str, Any]] = []
    arms: dict[str, list[int]] = {}
    curves: dict[str, list[Point]] = {}
    for name in names():
        if name in LONG and n > 200_000 and not (folder_of(name, n, SEED) / "facts.json").exists():
            rows.append(not_built(name, n))
            continue
        try:
            built(name, n, SEED)
        except subprocess.CalledProcessError:
            # LeanVec of SVS refuses every processor that is not Intel's.
            rows.append({"system": name, "recall@10": "does not build on this machine"})
            continue
        found = alone(name, n, SEED)
        points = curves[name] = [tuple(point) for point in found["points"]]
        facts = {
            "B/vec RAM": found["B/vec RAM"],
            "B/vec files": round(found["facts"]["bytes"] / n, 1),
        }
        facts |= {"resident MB": found["resident MB"], **found["facts"]}
        for wanted in WANTED:
            row: dict[str, Any] = {"system": name, "for recall": wanted}
            which = chosen(points, wanted, found["one number"])
            if which is None:
                highest = max(point[1] for point in points)
                rows.append(row | {"recall@10": f"at most {highest:.4f}"} | facts)
                continue
            setting, recall, _ = points[which]
            row |= {"setting": setting, "which": which, "recall@10": round(recall, 4)}
            rows.append(row | facts)
            # One setting may serve both recalls: it is timed once.
            arms[name] = sorted({*arms.get(name, []), which})
    times = turns(arms, n, 1 if quick else ROUNDS)
    for row in rows:
        if "which" in row:
            row |= speeds(times[row["system"], row.pop("which")])
    against_best(rows)
    if not quick:
        picture(curves, file)
    setup = {
        "data": f"bench/search/generator.py, {n} x 768, seed {SEED}, {ASKED} queries",
        "clock": f"medians of {ROUNDS} rounds of all systems, each in a process of its own, "
        f"{best_level()}; CPU seconds unless it says wall",
        "curves": {
            name: [[str(p[0]), round(p[1], 4), round(1 / p[2], 1)] for p in points]
            for name, points in curves.items()
        },
        "queries a curve": f"recall of {ASKED} ({PANORAMA}, which is exact: 64), time of {SINGLE}",
        "timed on fewer queries": f"{', '.join(SLOW)}: 8 alone, 16 and 64 in a batch",
        "peak RSS MB": "of building, in a process of its own (VmHWM)",
        "resident MB": "what reading the index and searching added to a process",
    }
    return Result(rows, setup)


@bench("search/peers", gate="tests/stores/cascade")
def peers(quick: bool) -> Result:
    """200,000 x 768: every library that installs, at recall .95 and .99."""
    return measured(20_000 if quick else 200_000, quick, RESULTS / "search_peers.svg")


@bench("search/peers_1m", gate="tests/stores/cascade")
def peers_1m(quick: bool) -> Result:
    """A million: the same."""
    return measured(20_000 if quick else 1_000_000, quick, RESULTS / "search_peers_1m.svg")
