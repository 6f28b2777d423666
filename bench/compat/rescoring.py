"""What rescoring keeps of a full re-embed, what a warm query costs, and what adapters cost."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.retrieval.compat.choosing import ADAPTERS, SIDES, fit_bridge
from attar.retrieval.compat.graded import best_rows, ndcg
from attar.retrieval.compat.rescoring import CANDIDATES, Rescoring, Scale
from attar.retrieval.compat.upgrade import Upgrade
from attar.retrieval.encoders import PythonCallable
from bench.compat.collections import DIRECTIONS, SETS, TOKENS, Pair, compressed, real
from bench.machine import interleaved
from bench.registry import Result, bench

RATES = ("waterfill@8x", "waterfill@16x")
PAIRS = 2000


def _kept(pair: Pair, codec: str) -> dict[str, Any]:
    """Quality of the new model alone, re-embedded under the codec, and of both ways to rescore."""
    stored, new = compressed(pair.old_x, codec), compressed(pair.new_x, codec)
    old_s, new_s = pair.old_q @ stored.T, pair.new_q @ new.T
    rows = best_rows(old_s, CANDIDATES)
    a, b = np.take_along_axis(old_s, rows, axis=1), np.take_along_axis(new_s, rows, axis=1)
    scale = Scale.of(a.ravel(), b.ravel())
    found = {"stay": best_rows(old_s), "re-embed": best_rows(new_s)}
    for weight in (1.0, 0.5):
        found[f"rescore {weight}"] = Rescoring(weight=weight).rank(rows, a, b, scale)
    row: dict[str, Any] = {"case": pair.name, "store": codec}
    row |= {name: round(float(ndcg(hits, pair.grades).mean()), 4) for name, hits in found.items()}
    row |= {f"kept {w}": round(row[f"rescore {w}"] / row["re-embed"], 4) for w in (1.0, 0.5)}
    return row


def _warm_ms(pair: Pair) -> float:
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
    return 10 * (times["both"]["median"] - times["old"]["median"])


def _adapters(pair: Pair) -> list[dict[str, Any]]:
    """Every adapter on float32 and on 8x codes, fitted on documents that no query is about."""
    relevant = {row for grades in pair.grades[::2] for row in grades}
    free = [r for r in range(len(pair.old_x)) if r not in relevant]
    some = np.random.default_rng(0).permutation(free)[: min(PAIRS, len(pair.old_x) // 2)]
    asked, grades = pair.new_q[::2], pair.grades[::2]
    rows = []
    for side in SIDES:
        for name in ADAPTERS:
            row: dict[str, Any] = {"case": pair.name, "adapter": f"{name} {side}-side"}
            for what, x in (("float32", pair.old_x), ("8x", compressed(pair.old_x, RATES[0]))):
                bridge = fit_bridge(name, side, x[some], pair.new_x[some])
                found = best_rows(bridge.scores(asked, x))
                row[what] = round(float(ndcg(found, grades).mean()), 4)
            row["8x of float32"] = round(row["8x"] / row["float32"], 4)
            one = asked[:1] if side == "query" else pair.old_x[:1]
            fitted = bridge.adapter
            arm = {"one": lambda f=fitted, q=one: [f.apply(q) for _ in range(200)]}
            row["us per vector"] = round(interleaved(arm, 3)["one"]["median"] / 200 * 1e6, 1)
            row["side bytes"] = fitted.side_bytes
            rows.append(row)
    return rows


@bench("compat/rescoring", gate="tests/retrieval/compat")
def rescoring(quick: bool) -> Result:
    """Three collections, both directions, stores at 8x and 16x."""
    sets = SETS[2:] if quick else SETS
    pairs = [real(name, old, new) for name in sets for old, new in DIRECTIONS]
    rows = [_kept(pair, codec) for pair in pairs for codec in RATES]
    least = min(min(row["kept 1.0"], row["kept 0.5"]) for row in rows)
    warm = {pair.name: round(_warm_ms(pair), 3) for pair in pairs}
    return Result(
        rows,
        {
            "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
            "candidates": CANDIDATES,
            "kept": "nDCG@10 over that of the full re-embed under the same codec",
            "warm": "one query at a time, all candidates embedded, CPU ms over the old search",
        },
        {
            "kept": {
                "bar": "at least 99 % of the full re-embed on every collection, from 8x and 16x",
                "measured": least,
                "met": least >= 0.99,
            },
            "warm overhead": {
                "bar": "under 2 ms beyond the query embedding",
                "measured": warm,
                "met": max(warm.values()) < 2,
            },
        },
    )


@bench("compat/adapters", gate="tests/retrieval/compat")
def adapters(quick: bool) -> Result:
    """Every adapter on both sides, three collections, both directions."""
    sets = SETS[2:] if quick else SETS
    pairs = [real(name, old, new) for name in sets for old, new in DIRECTIONS]
    rows = [row for pair in pairs for row in _adapters(pair)]
    slowest = max(row["us per vector"] for row in rows)
    worst = min(row["8x of float32"] for row in rows)
    return Result(
        rows,
        {
            "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
            "pairs": f"min({PAIRS}, n/2), none about a measured query",
        },
        {
            "time": {
                "bar": "under 50 microseconds per query",
                "measured": slowest,
                "met": slowest < 50,
            },
            "on codes": {
                "bar": "on 8x codes within 1 % of float32",
                "measured": worst,
                "met": worst >= 0.99,
            },
        },
    )
