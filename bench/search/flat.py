"""Flat search at equal recall: one thread, CPU seconds, interleaved, every byte counted.

ATTAR_BENCH (a folder, default: the system's temporary one) keeps the generated vectors.
"""

import os
import time
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np

from attar.stores.cascade.search import Widths
from attar.stores.kernels.library import best_level
from attar.stores.kernels.sketch import SketchCodes, quantized, sketch_top
from attar.stores.types import Float32
from bench.machine import interleaved
from bench.registry import Result, bench
from bench.search.arms import Arm, Attar, faiss_arm, read_probe, truth_of, turbovec_arm
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept

SEED = 2
"""Another seed than 0 and 1, on which the sketch's shape was chosen."""
WANTED = 0.985
BATCHES = (1, 16, 256)
ROUNDS = 7


def timed(arms: list[Arm], asked: Float32, rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """Milliseconds of CPU per query, per arm and batch size: median, min and max over rounds."""
    result: dict[str, dict[int, dict[str, float]]] = {arm.name: {} for arm in arms}
    for batch in BATCHES:
        total = {1: 32, 16: 64, 256: 256}[batch]

        def run(arm: Arm, batch: int = batch, total: int = total) -> None:
            for first in range(0, total, batch):
                arm.answer(asked[first : first + batch])

        seconds = interleaved({arm.name: lambda a=arm: run(a) for arm in arms}, rounds)
        for name, s in seconds.items():
            result[name][batch] = {key: 1000 * value / total for key, value in s.items()}
    return result


def row(arm: Arm, times: dict[int, dict[str, float]]) -> dict[str, Any]:
    """One competitor as a row of the table."""
    cells: dict[str, Any] = {
        "system": arm.name,
        "B/vec": round(arm.bytes_per_vector, 1),
        "recall@10": round(arm.recall, 4),
    }
    for batch, t in times.items():
        cells[f"ms b{batch}"] = round(t["median"], 4)
        cells[f"spread b{batch}"] = f"{t['min']:.3f}-{t['max']:.3f}"
    return cells | {"build CPU s": round(arm.build, 1)}


def exact_share(ours: Attar, asked: Float32, arm: Arm) -> dict[str, float]:
    """CPU time of certified against approximate search, one query at a time."""
    sure, near = [], []
    for q in asked[:48]:
        start = time.process_time()
        arm.answer(q[None])
        middle = time.process_time()
        ours.exact(q[None])
        near.append(middle - start)
        sure.append(time.process_time() - middle)
    return {
        "median": float(np.median(sure) / np.median(near)),
        "mean": float(np.mean(sure) / np.mean(near)),
    }


def exponent(ours: Attar, asked: Float32) -> float:
    """How the cost of a single-query scan grows from a quarter of the rows to all."""
    codes, projection = ours.index.codes, ours.index.frame.projection
    coords = ours.prepared(asked[:1]).coords
    weights = projection.weights(projection.inside(projection.metric.queries(coords)))
    planned = quantized(weights, projection.head_dims, wide=True)
    sizes = [codes.rows // part // 16 * 16 for part in (4, 2, 1)]
    cut = {
        n: SketchCodes(n, codes.head[: n // 16], codes.body[:n], np.array([0, n // 16]))
        for n in sizes
    }
    arms = {str(n): lambda c=cut[n]: sketch_top(c, planned, Widths().head) for n in sizes}
    t = interleaved(arms, 15)
    seconds = [t[str(n)]["median"] for n in sizes]
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def bandwidth_share(ours: Attar, asked: Float32) -> tuple[float, float]:
    """GB/s of a single-query sketch scan and of a plain read of as many bytes."""
    codes, projection = ours.index.codes, ours.index.frame.projection
    probe = read_probe(codes.head.nbytes)
    if probe is None:
        return float("nan"), float("nan")
    coords = ours.prepared(asked[:1]).coords
    weights = projection.weights(projection.inside(projection.metric.queries(coords)))
    planned = quantized(weights, projection.head_dims, wide=True)
    arms = {"scan": lambda: sketch_top(codes, planned, Widths().head), "read": probe}
    t = interleaved(arms, 15)
    return tuple(codes.head.nbytes / t[name]["median"] / 1e9 for name in ("scan", "read"))


def ratio(times: dict[str, dict[int, dict[str, float]]], ours: str, peer: str, b: int) -> float:
    """How many times faster than the peer."""
    return times[peer][b]["median"] / times[ours][b]["median"]


def bar(text: str, measured: float, met: bool | None) -> dict[str, Any]:
    """One bar of the issue."""
    return {"bar": text, "measured": round(measured, 3), "met": met}


@bench("search/flat", gate="tests/stores/cascade")
def flat(quick: bool) -> Result:
    """The int8 cascade against faiss and turbovec; waterfill is in search/cells."""
    n = 200_000 if quick else 1_000_000
    rounds = 3 if quick else ROUNDS
    docs = documents(n, FOLDER, SEED)
    asked, name = queries(256, docs, SEED), f"{n}_{SEED}"
    truth, _ = kept(f"truth_{name}", lambda: truth_of(docs, asked))
    wide = Attar("int8", docs, name)
    a = wide.arm("attar int8", asked, truth, WANTED, 0)
    faiss_128 = faiss_arm("PCA128,PQ128x4fs,Refine(SQ8)", docs, name, asked, truth, WANTED, 832)
    turbo = turbovec_arm(docs, asked, truth)
    narrow = wide.arm("attar int8 on AVX2", asked, truth, WANTED, 0, "avx2")
    arms = [a, faiss_128, turbo, narrow]
    times = timed(arms, asked, rounds)
    scan, read = bandwidth_share(wide, asked)
    bars = bars_of(times, arms, scan / read, wide, asked)
    setup = {
        "data": f"bench/search/generator.py, {n} x 768, seed {SEED}, 256 queries, "
        "recall@10 vs float32",
        "clock": f"CPU ms per query, one thread, {rounds} interleaved rounds, level {best_level()}",
        "widths": f"first rung at recall {WANTED}, same rule for k_factor",
        "read GB/s": round(read, 1),
        "scan GB/s": round(scan, 1),
    }
    return Result([row(arm, times[arm.name]) for arm in arms], setup, bars)


def bars_of(
    times: dict[str, dict[int, dict[str, float]]],
    arms: list[Arm],
    share: float,
    ours: Attar,
    asked: Float32,
) -> dict[str, Any]:
    """The bars (a), (c), (e), (f) of the issue."""
    a, peer, _, narrow = (arm.name for arm in arms)
    bars = {}
    tiles = best_level() == "amx"
    for batch, least in ((1, 1.7), (16, 4.0), (256, 10.0 if tiles else 3.0)):
        got = ratio(times, a, peer, batch)
        text = f">= {least}x the best flat peer at batch {batch}, {'AMX' if tiles else 'no AMX'}"
        bars[f"(a) b{batch}"] = bar(text, got, got >= least)
    for name, got in exact_share(ours, asked, arms[0]).items():
        bars[f"(c) int8 {name}"] = bar("exact <= 2.2x approximate", got, got <= 2.2)
    got = ratio(times, narrow, peer, 1)
    bars["(a) AVX2 b1"] = bar(">= 1.5x the best flat peer, AVX2 only", got, got >= 1.5)
    got = exponent(ours, asked)
    bars["(f)"] = bar("exponent <= 1.05, quarter to whole (4M: not measured)", got, got <= 1.05)
    if not tiles:
        text = ">= 10x at batch 256 with AMX"
        bars["(a) AMX"] = {"bar": text, "measured": "not measured: no AMX", "met": None}
    bars["(e)"] = bar("scan >= 85 % of the read bandwidth", share, share >= 0.85)
    return bars
