"""What rescoring keeps of a full re-embed, and what adapters keep on codes."""

from typing import Any

import numpy as np

from attar.retrieval.compat.choosing import ADAPTERS, SIDES, fit_bridge
from attar.retrieval.compat.graded import best_rows, ndcg
from attar.retrieval.compat.rescoring import CANDIDATES, Rescoring, Scale
from bench.compat.collections import DIRECTIONS, SETS, TOKENS, Pair, compressed, real
from bench.registry import Result, bench

RATES = ("waterfill@8x", "waterfill@16x")
PAIRS, FOLDS = 2000, 2


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


def _adapters(pair: Pair) -> list[dict[str, Any]]:
    """Every adapter on float32 and on 8x codes, each query by one that was fitted without it."""
    coded = compressed(pair.old_x, RATES[0])
    folds = np.random.default_rng(0).permutation(len(pair.grades)) % FOLDS
    rows = []
    for side in SIDES:
        for name in ADAPTERS:
            values = {"float32": np.zeros(len(folds)), "8x": np.zeros(len(folds))}
            for fold in range(FOLDS):
                mine = np.flatnonzero(folds == fold)
                grades = [pair.grades[q] for q in mine]
                relevant = {row for each in grades for row in each}
                free = [r for r in range(len(coded)) if r not in relevant]
                count = min(PAIRS, len(coded) // 2)
                some = np.random.default_rng(fold).permutation(free)[:count]
                for what, x in (("float32", pair.old_x), ("8x", coded)):
                    bridge = fit_bridge(name, side, x[some], pair.new_x[some])
                    found = best_rows(bridge.scores(pair.new_q[mine], x))
                    values[what][mine] = ndcg(found, grades)
            row: dict[str, Any] = {"case": pair.name, "adapter": f"{name} {side}-side"}
            row |= {what: round(float(each.mean()), 4) for what, each in values.items()}
            row["8x of float32"] = round(row["8x"] / row["float32"], 4)
            row["side bytes"] = bridge.adapter.side_bytes
            rows.append(row)
    return rows


@bench("compat/rescoring", gate="tests/retrieval/compat")
def rescoring(quick: bool) -> Result:
    """Three collections, both directions, stores at 8x and 16x."""
    sets = SETS[2:] if quick else SETS
    pairs = [real(name, old, new) for name in sets for old, new in DIRECTIONS]
    rows = [_kept(pair, codec) for pair in pairs for codec in RATES]
    least = min(min(row["kept 1.0"], row["kept 0.5"]) for row in rows)
    return Result(
        rows,
        {
            "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
            "candidates": CANDIDATES,
            "kept": "nDCG@10 over that of the full re-embed under the same codec",
        },
        {
            "kept": {
                "bar": "at least 99 % of the full re-embed on every collection, from 8x and 16x",
                "measured": least,
                "met": least >= 0.99,
            },
        },
    )


@bench("compat/adapters", gate="tests/retrieval/compat")
def adapters(quick: bool) -> Result:
    """Every adapter on both sides, three collections, both directions."""
    sets = SETS[2:] if quick else SETS
    pairs = [real(name, old, new) for name in sets for old, new in DIRECTIONS]
    rows = [row for pair in pairs for row in _adapters(pair)]
    worst = min(row["8x of float32"] for row in rows)
    return Result(
        rows,
        {
            "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
            "pairs": f"min({PAIRS}, n/2), none about a measured query; {FOLDS} folds of queries",
        },
        {
            "on codes": {
                "bar": "on 8x codes within 1 % of float32",
                "measured": worst,
                "met": worst >= 0.99,
            },
        },
    )
