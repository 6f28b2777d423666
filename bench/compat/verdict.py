"""Whether the verdict on a sample is the best way on the whole collection."""

import json
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.codec import Codec
from attar.retrieval.compat.anchor_drift import anchor_drift
from attar.retrieval.compat.options import Ways, measure_ways
from attar.retrieval.compat.verdict import COST, judge
from bench.compat.collections import (
    DIRECTIONS,
    SETS,
    TOKENS,
    Pair,
    bridge_wins,
    nothing_helps,
    only_reembedding_helps,
    real,
)
from bench.machine import commit
from bench.registry import Result, bench

CODEC, DOCUMENTS, SEEDS = "waterfill@8x", 3000, 10
LINEAR = ("ridge", "procrustes")
PLANTED = "squad"
Case = tuple[str, Callable[[int], Pair]]


@lru_cache(8)
def _real(name: str, old: str, new: str) -> Pair:
    return real(name, old, new)


def _cases() -> list[Case]:
    cases: list[Case] = [
        (f"{name} {old}>{new}", lambda seed, n=name, a=old, b=new: _real(n, a, b))
        for name in SETS
        for old, new in DIRECTIONS
    ]
    planted = (bridge_wins, nothing_helps, only_reembedding_helps)
    return cases + [(f"{PLANTED} {make.__name__}", partial(make, PLANTED)) for make in planted]


def _ways(pair: Pair, documents: int, seed: int) -> Ways:
    """Every way, measured for all judged queries among so many documents."""
    whole = pair.sample(CODEC, seed, documents, len(pair.grades))
    return measure_ways(whole, Codec.parse(CODEC), adapters=LINEAR, seed=seed)


@lru_cache(2)
def _among_all(pair: Pair) -> Ways:
    return _ways(pair, len(pair.old_x), 0)


def _truth(ways: Ways, held: np.ndarray) -> dict[str, float]:
    """Quality of every way on queries that no verdict has seen; a way's best method counts."""
    truth = {each.name: float(each.values[held].mean()) for each in ways.plain}
    truth["rescore"] = max(float(values[held].mean()) for values in ways.rescored.values())
    methods = [values for side in ways.bridges.values() for values in side.values()]
    return truth | {"bridge": max(float(values[held].mean()) for values in methods)}


def _one(pair: Pair, seed: int) -> dict[str, Any]:
    """A verdict from half of the judged queries against the truth on the other half.

    The truth is measured among all documents, the verdict among at most 3,000.
    """
    n, m = len(pair.old_x), len(pair.grades)
    order = np.random.default_rng(1000 + seed).permutation(m)
    asked, held = np.sort(order[: m // 2]), np.sort(order[m // 2 :])
    seen = _ways(pair, min(DOCUMENTS, n), seed)
    truth = _truth(seen if n <= DOCUMENTS else _among_all(pair), held)
    drift = anchor_drift(pair.stored(CODEC), pair.new_x, seed=seed)
    said, whole = judge(seen.options(asked), drift, seed=seed), judge(seen.options(), seed=seed)
    best = max(truth, key=lambda name: truth[name])
    reach = max(g.gain.high - g.gain.low for g in said.options if g.name == best) / 2
    reach = reach or said.widest / 2
    right = {name: truth[best] - truth[name] <= reach for name in COST}
    width = {each.how: each.gain.high - each.gain.low for each in whole.options}
    return {
        "truth": truth,
        "advice": said.advice,
        "best": best,
        "right": right[said.advice],
        "always": right,
        "unrelated": drift.unrelated,
        "below stay": truth[said.advice] < truth["stay"] and said.advice != "stay",
        "width": max(w for how, w in width.items() if "side" not in how),
        "width of bridges": max(w for how, w in width.items() if "side" in how),
    }


def _mean(runs: list[dict[str, Any]], way: str) -> float:
    return round(sum(run["truth"][way] for run in runs) / len(runs), 4)


def _done(file: Path) -> dict[str, Any]:
    """What an interrupted run of the same commit has measured already."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {entry["key"]: entry["got"] for entry in map(json.loads, lines)}


@bench("compat/verdict", gate="tests/retrieval/compat")
def verdict(quick: bool) -> Result:
    """Three collections, both directions, planted pairs, ten seeds."""
    file = Path(tempfile.gettempdir()) / f"attar-verdict-{commit().rstrip('+')}.jsonl"
    cases, seeds = _cases()[4:] if quick else _cases(), range(2 if quick else SEEDS)

    def kept(key: str, measure: Callable[[], Any]) -> Any:
        done = {} if quick else _done(file)
        if key not in done:
            done[key] = measure()
            with file.open("a") as log:
                log.write(json.dumps({"key": key, "got": done[key]}) + "\n")
        return done[key]

    found = {
        (name, seed): kept(f"{name} {seed}", lambda m=make, s=seed: _one(m(s), s))
        for seed in seeds
        for name, make in cases
    }
    rows, all_runs, planted = [], [], []
    for name, _ in cases:
        runs = [found[name, seed] for seed in seeds]
        all_runs += runs
        planted += runs if ">" not in name else []
        advice = [run["advice"] for run in runs]
        row = {"case": name} | {f"true {way}": _mean(runs, way) for way in COST}
        row |= {"advice": ", ".join(f"{a} {advice.count(a)}" for a in dict.fromkeys(advice))}
        row |= {"right": sum(run["right"] for run in runs), "of": len(runs)}
        row |= {f"always {way}": sum(run["always"][way] for run in runs) for way in COST}
        row |= {
            each: round(max(r[each] for r in runs), 4) for each in ("width", "width of bridges")
        }
        row |= {"unrelated": sum(run["unrelated"] for run in runs)}
        rows.append(row)
    share = sum(run["right"] for run in all_runs) / len(all_runs)
    worst = min(row["right"] / row["of"] for row in rows)
    constant = {way: sum(run["always"][way] for run in all_runs) / len(all_runs) for way in COST}
    width, of_bridges = (max(row[each] for row in rows) for each in ("width", "width of bridges"))
    below = sum(run["below stay"] for run in all_runs if run["advice"] == "bridge")
    setup = {
        "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
        "old and new store": CODEC,
        "sample": f"half of the judged queries, {DOCUMENTS} documents, or all there are",
        "truth": "the other half, all documents; a gap below half the interval counts as right",
        "width": "of the gains when all judged queries are used",
        "planted": f"on {PLANTED}",
        "adapters": LINEAR,
        "seeds": SEEDS,
    }
    return Result(
        rows,
        setup,
        {
            "right": {
                "bar": "best, or within its interval of it, in 9 of 10 verdicts",
                "measured": f"{share:.3f}, worst case {worst:.2f}",
                "met": share >= 0.9,
            },
            "not by habit": {
                "bar": "no constant advice reaches that",
                "measured": {way: round(value, 3) for way, value in constant.items()},
                "met": max(constant.values()) < 0.9,
            },
            "bridge below staying": {
                "bar": "never advised",
                "measured": f"{below} of {len(all_runs)}",
                "met": below == 0,
            },
            "width": {
                "bar": "intervals of the gain at most .04 wide",
                "measured": f"{width} (adapters {of_bridges})",
                "met": max(width, of_bridges) <= 0.04,
            },
        },
    )
