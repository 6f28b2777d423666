"""A million vectors on disk in 200 MB of memory, beside the same store without a budget.

Under a budget the sketch stays in memory, since every search reads all of it or many of its cells;
codes are read from disk page by page and let go. Every measurement is a process of its own:

    python -m bench.search.budget STORE QUERIES BUDGET SEARCH OUT

BUDGET is a number of bytes or `none`, SEARCH `exact` or `near`. What a process had in memory when
it had searched a store of a hundred vectors (Python, libraries) is subtracted. The files are in the
system's page cache before the clock starts (a first process of each kind is not counted), which no
budget limits: what is let go is read again from there, not from the disk.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import attar
from attar.stores.kernels.library import best_level
from attar.stores.types import Float32
from bench.machine import memory_of
from bench.registry import Result, bench
from bench.search.arms import overlap, truth_of
from bench.search.flat import bar
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept

SEED = 2
BUDGET = 200_000_000
CODECS = ("int8", "waterfill@8x")
BATCHES = {"exact": {1: 16, 16: 32, 256: 256}, "near": {1: 64, 16: 128, 256: 256}}
"""How many queries are asked in batches of 1, 16 and 256."""
RECALL = 0.98
ROUNDS = 3


def resident() -> dict[str, float]:
    """Megabytes of this process: anonymous, of files, and the most that it ever had of both."""
    now = memory_of()
    return {name: now[name] / 1e6 for name in ("RssAnon", "RssFile", "VmHWM")}


def store_of(codec: str, docs: Float32, name: str) -> Path:
    """A store of these documents; codes are made once for a checksum of the codec, cells anew."""
    fitted = attar.codec(codec).fit(np.asarray(docs[:20_000]))
    path = FOLDER / f"store_{codec}_{name}_{zlib.crc32(fitted.dump()):08x}"
    if not path.exists():
        half = path.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        with attar.Store.create(half, fitted) as store:
            store.add([f"d{i:07d}" for i in range(len(docs))], docs)
        half.rename(path)
    with attar.open(path, "w") as store:
        store.cluster(threads=1)
    return path


def child(store: str, asked: str, budget: str, search: str, out: str) -> None:
    """Open, ask, and write what it took and what was found."""
    q = np.load(asked)
    with tempfile.TemporaryDirectory() as folder, attar.Store.create(folder + "/s", "int8") as few:
        few.add([str(i) for i in range(100)], q[:100])
        few.search(q[:1], 10)
    exact = search == "exact"
    start = resident()
    held = attar.open(store, budget=None if budget == "none" else int(budget))

    def hits(some: Float32) -> Any:
        if exact:
            return held.search(some, 10, threads=1)
        return held.search(some, 10, exact=False, recall=RECALL, threads=1)

    with held:
        found = hits(q[:1])
        opened = resident()
        facts: dict[str, Any] = {"start": start, "first": opened}
        for batch, total in BATCHES[search].items():
            cpu, wall = time.process_time(), time.perf_counter()
            parts = [hits(q[at : at + batch]) for at in range(0, total, batch)]
            facts[f"cpu {batch}"] = 1000 * (time.process_time() - cpu) / total
            facts[f"wall {batch}"] = 1000 * (time.perf_counter() - wall) / total
            facts[f"memory {batch}"] = resident()
        found = parts[0]
    np.savez(out, ids=found.ids.astype(str), scores=found.scores)
    Path(out).with_suffix(".json").write_text(json.dumps(facts))


def asked_in_turn(
    path: Path, asked: Path, rounds: int
) -> Iterator[tuple[str, str, list[dict[str, Any]], dict[str, Any]]]:
    """Search, budget, facts of every round and what was found; rounds interleaved."""
    arms = [(search, budget) for search in BATCHES for budget in ("none", str(BUDGET))]
    facts: dict[tuple[str, str], list[dict[str, Any]]] = {arm: [] for arm in arms}
    hits = {}
    for turn in range(rounds + 1):
        for arm in arms:
            out = asked.with_name(f"{asked.stem}_{arm[0]}_{arm[1]}.npz")
            command = [sys.executable, "-m", "bench.search.budget", str(path), str(asked)]
            subprocess.run([*command, arm[1], arm[0], str(out)], check=True)
            hits[arm] = dict(np.load(out))
            if turn:
                facts[arm].append(json.loads(out.with_suffix(".json").read_text()))
    for search, budget in arms:
        yield search, budget, facts[search, budget], hits[search, budget]


def row_of(rounds: list[dict[str, Any]], search: str) -> dict[str, Any]:
    """Medians over the rounds; the peak is the largest."""

    def middle(value: Callable[[dict[str, Any]], float], digits: int) -> float:
        return round(median(value(one) for one in rounds), digits)

    last = f"memory {max(BATCHES[search])}"
    row: dict[str, Any] = {}
    for name in ("RssAnon", "RssFile"):
        row[f"{name} MB"] = middle(lambda r, n=name: r[last][n] - r["start"][n], 1)
    row["peak MB"] = round(max(r[last]["VmHWM"] - before(r) for r in rounds), 1)
    for batch in BATCHES[search]:
        row[f"ms b{batch}"] = middle(lambda r, b=batch: r[f"cpu {b}"], 3)
        row[f"wall b{batch}"] = middle(lambda r, b=batch: r[f"wall {b}"], 3)
    return row


def before(facts: dict[str, Any]) -> float:
    """What was resident before the store was opened."""
    return float(facts["start"]["RssAnon"] + facts["start"]["RssFile"])


@bench("search/budget", gate="tests/stores/test_budget.py")
def budget(quick: bool) -> Result:
    """Memory, recall and milliseconds under a budget of 200 MB and without one."""
    n, rounds = (200_000, 1) if quick else (1_000_000, ROUNDS)
    docs = documents(n, FOLDER, SEED)
    asked, name = queries(256, docs, SEED), f"{n}_{SEED}"
    truth, _ = kept(f"truth_{name}", lambda: truth_of(docs, asked))
    file = FOLDER / f"budget_queries_{name}.npy"
    np.save(file, asked)
    wanted = np.array([[f"d{i:07d}" for i in row] for row in truth])
    rows, bars = [], {}
    for codec in CODECS:
        found = {}
        path = store_of(codec, docs, name)
        for search, limit, facts, hits in asked_in_turn(path, file, rounds):
            found[search, limit] = hits
            budgeted = "none" if limit == "none" else f"{BUDGET / 1e6:.0f} MB"
            row = {"codec": codec, "search": search, "budget": budgeted}
            row["recall@10"] = round(overlap(hits["ids"], wanted), 4)
            rows.append(row | row_of(facts, search))
            if limit != "none":
                peak = rows[-1]["peak MB"]
                text = f"at most {BUDGET / 1e6:.0f} MB more than before it was opened, at any time"
                bars[f"{codec} {search} peak"] = bar(text, peak, peak <= BUDGET / 1e6)
        same = all(
            np.array_equal(found["exact", "none"][part], found["exact", str(BUDGET)][part])
            for part in ("ids", "scores")
        )
        text = "exact hits and scores are the same bits under a budget (1: yes)"
        bars[f"{codec} exact"] = bar(text, float(same), bool(same))
    setup = {
        "data": f"bench/search/generator.py, {n} x 768, seed {SEED}, 256 queries, recall@10 vs "
        "float32",
        "rule": "under a budget the sketch is in memory and codes are read from disk, pages let go",
        "search": f"exact, or near: approximate with recall={RECALL} of the codes, in cells",
        "memory": "MB above the process before it opens the store, after all batches; peak: VmHWM. "
        "The files are warm in the system's page cache, which is not counted",
        "clock": f"ms per query, one thread, a process for every row, {rounds} interleaved rounds, "
        f"{best_level()}",
    }
    return Result(rows, setup, bars)


if __name__ == "__main__":
    child(*sys.argv[1:])
