"""In which order to embed again: quality over the documents embedded, weighted by traffic."""

from collections import Counter
from typing import Any

import numpy as np

from attar.retrieval.compat.choosing import MOST_PAIRS, choose_bridge
from attar.retrieval.compat.graded import best_rows, ndcg
from attar.retrieval.compat.pay_first import cycle_residual, pay_first
from attar.retrieval.compat.rescoring import CANDIDATES, Rescoring, Scale
from bench.compat.collections import DIRECTIONS, SETS, TOKENS, Pair, compressed, real
from bench.registry import Result, bench

CODEC, SHARES, SEEDS = "waterfill@8x", (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0), 3
LINEAR = ("ridge", "procrustes", "low-rank")
VISITS = 2000


def _traffic(m: int, draw: np.random.Generator) -> np.ndarray:
    """How often each of m queries is asked: 1 / rank, ranks drawn (Zipf)."""
    return np.asarray(1 / (1 + draw.permutation(m)))


def _areas(pair: Pair, stored: np.ndarray, new: np.ndarray, seed: int) -> dict[str, float]:
    """Area under the curve of each order, as an upgrade with an adapter goes through them."""
    draw = np.random.default_rng(seed)
    n, m = len(stored), len(pair.grades)
    first = draw.permutation(n)[: min(MOST_PAIRS, n // 2)]
    first = first[: max(64, n // 10)]
    bridge, _ = choose_bridge(stored[first], pair.new_x[first], names=LINEAR, seed=seed)
    old_s, new_s = bridge.scores(pair.new_q, stored), pair.new_q @ new.T
    rows = best_rows(old_s, CANDIDATES)
    scale = Scale.of(*(np.take_along_axis(s, rows, 1).ravel() for s in (old_s, new_s)))
    weight = _traffic(m, draw)
    # Traffic before: queries drawn by their weight; what they met and had no new vector is noted.
    visits = draw.choice(m, VISITS, p=weight / weight.sum())
    hits = Counter(rows[visits].ravel().tolist())
    left = np.setdiff1d(np.arange(n), first)
    residual = cycle_residual(stored[first], new[first], stored[left])
    orders = {
        "pays first": pay_first(left, hits, residual),
        "doubt alone": left[np.argsort(-residual, kind="stable")],
        "random": draw.permutation(left),
    }
    rank = Rescoring(weight=1.0)
    areas = {}
    for name, order in orders.items():
        curve = []
        for share in SHARES:
            have = np.zeros(n, bool)
            have[first] = True
            have[order[: round(share * len(order))]] = True
            fused = rank.fused(old_s, np.where(have, new_s, np.nan), scale)
            values = ndcg(best_rows(fused), pair.grades)
            curve.append(float((values * weight).sum() / weight.sum()))
        areas[name] = float(np.trapezoid(curve, SHARES))
    return areas


@bench("compat/zipf", gate="tests/retrieval/compat")
def zipf(quick: bool) -> Result:
    """Adapter bridges, three collections, both directions, three seeds."""
    rows: list[dict[str, Any]] = []
    for name in SETS[2:] if quick else SETS:
        for old, new in DIRECTIONS:
            pair = real(name, old, new)
            both = compressed(pair.old_x, CODEC), compressed(pair.new_x, CODEC)
            found = [_areas(pair, *both, seed) for seed in range(SEEDS)]
            row: dict[str, Any] = {"case": pair.name}
            for order in ("pays first", "doubt alone", "random"):
                row[order] = round(float(np.mean([each[order] for each in found])), 4)
            won = [each["pays first"] - each["random"] for each in found]
            row["gain of each seed"] = [round(each, 4) for each in won]
            rows.append(row)
    gains = {row["case"]: round(row["pays first"] - row["random"], 4) for row in rows}
    return Result(
        rows,
        {
            "models": f"all-MiniLM-L6-v2, all-mpnet-base-v2, {TOKENS}",
            "store": CODEC,
            "traffic": f"queries by 1 / rank, ranks drawn; {VISITS} searches before",
            "bridge": f"the best of {', '.join(LINEAR)} on either side, fitted on a tenth",
            "area": f"under traffic-weighted nDCG@10 at {SHARES} of the rest embedded",
            "seeds": SEEDS,
        },
        {
            "order": {
                "bar": "area under the traffic-weighted curve at least random's",
                "measured": gains,
                "met": min(gains.values()) >= 0,
            }
        },
    )
