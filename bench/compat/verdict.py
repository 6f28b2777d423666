"""Whether the verdict on a sample is the best way on the whole collection."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attar.retrieval.codec import Codec
from attar.retrieval.compat.anchor_drift import anchor_drift
from attar.retrieval.compat.options import measure_options
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

CODEC, DOCUMENTS, QUERIES, SEEDS, TRUTH = "waterfill@8x", 3000, 1000, 10, 1000
LINEAR = ("ridge", "procrustes", "low-rank")
PLANTED = "squad"
Case = tuple[str, Callable[[int], Pair]]


def _cases() -> list[Case]:
    cases: list[Case] = [
        (f"{name} {old}>{new}", lambda seed, n=name, a=old, b=new: real(n, a, b))
        for name in SETS
        for old, new in DIRECTIONS
    ]
    planted = (bridge_wins, nothing_helps, only_reembedding_helps)
    return cases + [(f"{PLANTED} {make.__name__}", partial(make, PLANTED)) for make in planted]


def _truth(pair: Pair) -> dict[str, float]:
    """Quality of every way on all documents and all judged queries; a way's best method counts."""
    whole = pair.sample(CODEC, TRUTH, len(pair.old_x), len(pair.grades))
    options = measure_options(whole, Codec.parse(CODEC), adapters=LINEAR, seed=TRUTH)
    return {name: max(_means(options, name)) for name in COST}


def _means(options: list[Any], name: str) -> list[float]:
    return [float(each.values.mean()) for each in options if each.name == name]


def _one(pair: Pair, truth: dict[str, float], seed: int) -> dict[str, Any]:
    sample = pair.sample(CODEC, seed, DOCUMENTS, QUERIES)
    assert sample.new_documents is not None
    drift = anchor_drift(sample.old_documents, sample.new_documents, seed=seed)
    options = measure_options(sample, Codec.parse(CODEC), adapters=LINEAR, seed=seed)
    said = judge(options, drift, seed=seed)
    best = max(truth, key=lambda name: truth[name])
    reach = max(g.gain.high - g.gain.low for g in said.options if g.name == best) / 2
    reach = reach or said.widest / 2
    right = {name: truth[best] - truth[name] <= reach for name in COST}
    width = {each.how: each.gain.high - each.gain.low for each in said.options}
    return {
        "advice": said.advice,
        "best": best,
        "right": right[said.advice],
        "always": right,
        "unrelated": drift.unrelated,
        "below stay": truth[said.advice] < truth["stay"] and said.advice != "stay",
        "width": max(w for how, w in width.items() if "side" not in how),
        "width of bridges": max(w for how, w in width.items() if "side" in how),
    }


def _done(file: Path) -> dict[str, Any]:
    """What an interrupted run of the same commit has measured already."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {entry["key"]: entry["got"] for entry in map(json.loads, lines)}


@bench("compat/verdict", gate="tests/retrieval/compat")
def verdict(quick: bool) -> Result:
    """Three collections, both directions, planted pairs, ten seeds."""
    file = Path(tempfile.gettempdir()) / f"attar-verdict-{commit().rstrip('+')}.jsonl"
    done = {} if quick else _done(file)

    def kept(key: str, measure: Callable[[], Any]) -> Any:
        if key not in done:
            done[key] = measure()
            with file.open("a") as log:
                log.write(json.dumps({"key": key, "got": done[key]}) + "\n")
        return done[key]

    rows, all_runs, planted = [], [], []
    for name, make in _cases()[4:] if quick else _cases():
        runs = []
        for seed in range(2 if quick else SEEDS):
            # Real pairs are the same for every seed; planted ones are drawn anew.
            which = 0 if ">" in name else seed
            truth = kept(f"{name} truth {which}", lambda m=make, s=which: _truth(m(s)))
            runs.append(kept(f"{name} {seed}", lambda m=make, t=truth, s=seed: _one(m(s), t, s)))
        all_runs += runs
        planted += runs if ">" not in name else []
        advice = [run["advice"] for run in runs]
        row = {"case": name} | {f"true {way}": round(truth[way], 4) for way in COST}
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
        "sample": f"{DOCUMENTS} documents, {QUERIES} judged queries, or all there are",
        "truth": "all documents and judged queries; a gap below half the interval counts as right",
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
