"""What a warm query costs while two models are there, and what an adapter costs."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.retrieval.compat.choosing import ADAPTERS, QUERY, fit_bridge
from attar.retrieval.compat.upgrade import Upgrade
from attar.retrieval.encoders import PythonCallable
from bench.compat.collections import DIRECTIONS, SETS, TOKENS, Pair, real
from bench.machine import interleaved
from bench.registry import Result, bench

TURNS, PAIRS = 200, 700


def _warm(pair: Pair) -> dict[str, Any]:
    """CPU ms of a search by both models, all embedded, over one by the old model; batch 1."""
    texts = [f"t{row}" for row in range(len(pair.old_x))]
    place = {text: row for row, text in enumerate(texts)}

    def table(x: np.ndarray) -> Any:
        return lambda asked: x[[place.get(t, len(t) % len(x)) for t in asked]]

    old = PythonCallable(table(pair.old_x), name="old", fingerprint="old")
    new = PythonCallable(table(pair.new_x), name="new", fingerprint="new")
    with tempfile.TemporaryDirectory() as folder:
        with attar.Store.create(Path(folder) / "s", "waterfill@8x", old) as store:
            store.add(texts, texts=texts)
            upgrade = Upgrade.begin(store, old, new, first=len(texts))
            a, b = pair.old_q[:100], pair.new_q[:100]
            arms = {
                "old": lambda: [store.search(a[q], 10, threads=1) for q in range(100)],
                "both": lambda: [
                    upgrade.search_vectors(a[q : q + 1], b[q : q + 1], 10) for q in range(100)
                ],
            }
            times = interleaved(arms, rounds=5)
    us = {name: round(1e4 * each["median"], 1) for name, each in times.items()}
    row = {"case": pair.name, "what": "warm search", "us": us["both"]}
    return row | {"over us": round(us["both"] - us["old"], 1)}


def _adapters(pair: Pair) -> list[dict[str, Any]]:
    """Every adapter on one query at a time."""
    some = np.random.default_rng(0).permutation(len(pair.old_x))[:PAIRS]
    arms, sizes = {}, {}
    for name in ADAPTERS:
        fitted = fit_bridge(name, QUERY, pair.old_x[some], pair.new_x[some]).adapter
        arms[name] = lambda f=fitted, q=pair.new_q[:1]: [f.apply(q) for _ in range(TURNS)]
        sizes[name] = fitted.side_bytes
    times = interleaved(arms, rounds=9)
    return [
        {
            "case": pair.name,
            "adapter": name,
            "KiB": sizes[name] >> 10,
            "us": round(1e6 * times[name]["median"] / TURNS, 1),
            "least us": round(1e6 * times[name]["min"] / TURNS, 1),
        }
        for name in ADAPTERS
    ]


@bench("compat/speed", gate="tests/retrieval/compat")
def speed(quick: bool) -> Result:
    """Warm searches over three collections, both directions."""
    sets = SETS[2:] if quick else SETS
    rows = [_warm(real(name, old, new)) for name in sets for old, new in DIRECTIONS]
    longest = max(row["over us"] for row in rows) / 1000
    return Result(
        rows,
        {
            "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
            "warm": "one query at a time, all candidates embedded, CPU time, one thread",
        },
        {
            "warm overhead": {
                "bar": "under 2 ms beyond the query embedding",
                "measured": longest,
                "met": longest < 2,
            }
        },
    )


@bench("compat/adapter_time", gate="tests/retrieval/compat")
def adapter_time(quick: bool) -> Result:
    """Adapters of both shapes, query by query."""
    del quick
    rows = [row for old, new in DIRECTIONS for row in _adapters(real("cranfield", old, new))]
    slowest = max(row["us"] for row in rows)
    return Result(
        rows,
        {"adapters": "one query at a time, CPU us, checks included", "pairs": PAIRS},
        {
            "time": {
                "bar": "under 50 microseconds per query",
                "measured": slowest,
                "met": slowest < 50,
            }
        },
    )
