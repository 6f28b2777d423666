"""Search in cells (IVF) at equal recall, certified search, growth: one thread, CPU seconds.

Vectors, indexes and codes of every arm are made once and kept in the folder of ATTAR_BENCH.
"""

import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")

from typing import Any

from attar.stores.cascade.calibration import LADDER
from attar.stores.cascade.search import approximate
from attar.stores.kernels.library import best_level
from attar.stores.types import Float32
from bench.registry import Result, bench
from bench.search.arms import Arm, Attar, faiss_ivf_arm, overlap, truth_of, turbovec_arm
from bench.search.flat import bar, exact_share, ratio, row, timed
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept

SEED = 2
CELLS = 1024
RECALL = 0.98
ROUNDS = 7


def of_codes(ours: Attar, asked: Float32, arm: Arm) -> float:
    """Recall of the exact top-10 of the codes."""
    return overlap(arm.answer(asked), ours.own_truth(asked))


@bench("search/cells", gate="tests/stores/cascade")
def cells(quick: bool) -> Result:
    """Inverted files: int8 in cells against faiss, waterfill in cells against turbovec-4."""
    n = 200_000 if quick else 1_000_000
    docs = documents(n, FOLDER, SEED)
    asked, name = queries(256, docs, SEED), f"{n}_{SEED}"
    truth, _ = kept(f"truth_{name}", lambda: truth_of(docs, asked))
    eight = Attar("int8", docs, name, CELLS)
    ours = eight.arm("attar int8", asked, truth, RECALL, 0)
    peer = faiss_ivf_arm(
        "IVF1024,RaBitQfs,Refine(SQ8)", docs, name, asked, truth, RECALL, 768 + 104 + 8
    )
    turbo = turbovec_arm(docs, asked, truth)
    native = Attar("waterfill@328B", docs, name, CELLS)
    small = native.arm("attar waterfill@328B", asked, truth, turbo.recall, 0.99)
    arms = [ours, peer, turbo, small]
    times = timed(arms, asked, 3 if quick else ROUNDS)
    bars: dict[str, Any] = {}
    for batch in (1, 16, 256):
        got = ratio(times, ours.name, peer.name, batch)
        text = f">= 1.5x faiss' best inverted file at recall {RECALL}, batch {batch}"
        bars[f"(d) b{batch}"] = bar(text, got, got >= 1.5)
    for batch, least in ((1, 2.0), (16, 4.0), (256, 8.0)):
        got = ratio(times, small.name, turbo.name, batch)
        text = f">= {least}x turbovec-4 at batch {batch}, at most 400 B (not @8x)"
        bars[f"(b) b{batch}"] = bar(text, got, got >= least)
    own = of_codes(native, asked, small)
    bars["(b) own recall"] = bar(">= .99 of its own codes", own, own >= 0.99)
    for one, least in ((eight, 0.985), (native, small.recall)):
        flat = flat_arm(one, asked, truth, least)
        for what, got in exact_share(one, asked, flat).items():
            text = "exact <= 2.2x approximate search over all cells"
            bars[f"(c) {one.spec} {what}"] = bar(text, got, got <= 2.2)
    setup = {
        "data": f"bench/search/generator.py, {n} x 768, seed {SEED}, 256 queries (not the seed "
        "that shapes were chosen on), recall@10 vs float32",
        "clock": f"CPU ms per query, one thread, {ROUNDS} interleaved rounds, {best_level()}",
        "widths": "the cheapest that reach the recall, measured over all queries at once",
    }
    return Result([row(arm, times[arm.name]) for arm in arms], setup, bars)


def flat_arm(ours: Attar, asked: Float32, truth: Any, least: float) -> Arm:
    """The narrowest widths over all cells that reach a recall."""
    query = ours.prepared(asked)
    for widths in LADDER:
        recall = overlap(approximate(ours.index, query, 10, widths).rows, truth)
        if recall >= least:
            break
    else:
        raise ValueError(f"{ours.name} does not reach {least} over all cells.")

    def answer(q: Float32) -> Any:
        return approximate(ours.index, ours.prepared(q), 10, widths).rows

    name = f"attar {ours.spec}, all cells, {widths.head}/{widths.body}"
    return Arm(name, answer, ours.bytes_per_vector, ours.build, recall)
