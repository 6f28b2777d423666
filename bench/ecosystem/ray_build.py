"""Two actors of Ray against two processes without it, on the same blocks of a build.

Every arm embeds, encodes and writes the same blocks with the same worker class; the encoder notes
when a slice was done and by whom. Texts per second are counted from the moment at which all workers
of an arm have done their first block (start-up and loading are before it) to the last one.
"""

import json
import multiprocessing
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.retrieval.indexing import build
from attar.retrieval.indexing.block_worker import BlockWorker, Task
from attar.retrieval.indexing.blocks import corpus_of, cut_blocks
from attar.retrieval.indexing.build import plan_build
from attar.retrieval.indexing.ray_engine import RayEngine
from attar.retrieval.sources import read_source
from bench.ecosystem.passages import prose
from bench.machine import DATA
from bench.registry import Result, bench

TRACE = "ATTAR_BENCH_TRACE"
BATCH = 32
BLOCKS = 48
"""So many that the last block, at which one of two workers may wait, is a fiftieth of the work."""
ENCODER = "bench.ecosystem.ray_build:embed"
MODEL: Any = None


def embed(texts: list[str]) -> np.ndarray:
    """MiniLM on one thread; notes time, process and number of texts."""
    global MODEL
    if MODEL is None:
        import torch

        torch.set_num_threads(1)
        MODEL = attar.encoder("all-MiniLM-L6-v2")
    x: np.ndarray = MODEL.encode_documents(texts)
    # Whole blocks only: the driver embeds the eight probe texts of a store.
    if len(texts) == BATCH and (trace := os.environ.get(TRACE)):
        with open(trace, "a") as file:
            file.write(f"{time.time()} {os.getpid()} {len(texts)}\n")
    return x


def rate(trace: Path, workers: int) -> float:
    """Texts per second once every worker is warm."""
    events = [line.split() for line in trace.read_text().splitlines()]
    first: dict[str, float] = {}
    for at, pid, _ in events:
        first.setdefault(pid, float(at))
    if len(first) != workers:
        raise ValueError(f"{workers} processes were to embed, {len(first)} did; run it again.")
    start = max(first.values())
    last = max(float(at) for at, _, _ in events)
    return sum(int(n) for at, _, n in events if float(at) > start) / (last - start)


def _work(task: Task, numbers: list[int]) -> None:
    worker = BlockWorker(task)
    for number in numbers:
        worker({"block": [number]})


def processes(task: Task, count: int) -> None:
    """The blocks, dealt out in turn to processes of their own."""
    context = multiprocessing.get_context("spawn")
    numbers = [block.number for block in task.blocks]
    jobs = [context.Process(target=_work, args=(task, numbers[i::count])) for i in range(count)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        if job.exitcode:
            raise RuntimeError(f"A process of the control ended with {job.exitcode}.")


@bench("ecosystem/ray_build", gate="tests/retrieval/indexing/test_blocks.py")
def ray_build(quick: bool) -> Result:
    """One process, two processes, two actors, two processes."""
    blocks, before = 8 if quick else BLOCKS, build.BATCH
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    build.BATCH = BATCH
    rates: dict[str, list[float]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            texts = islice(prose(), blocks * BATCH)
            lines = [json.dumps({"_id": name, "text": text}) for name, text in texts]
            (base / "corpus.jsonl").write_text("\n".join(lines) + "\n")
            for turn, (arm, workers) in enumerate(ARMS):
                trace = base / f"trace-{turn}"
                os.environ[TRACE] = str(trace)
                _run(arm, base / "corpus.jsonl", base / f"out-{turn}", workers)
                rates.setdefault(arm, []).append(rate(trace, workers))
    finally:
        build.BATCH = before
    per_second = {arm: float(np.mean(some)) for arm, some in rates.items()}
    scaling = per_second["two processes"] / per_second["one process"]
    share = per_second["two actors of Ray"] / per_second["two processes"]
    said = f"{share:.3f} of a control that is {scaling:.2f}x one process"
    return Result(
        [{"arm": arm, "texts per second": value} for arm, value in per_second.items()],
        {
            "texts": blocks * BATCH,
            "block": BATCH,
            "model": "all-MiniLM-L6-v2, one thread a worker",
            "data": str(DATA.name) + ": prose of 40 words",
            "clock": "wall, from all workers warm to the end",
            "order": [arm for arm, _ in ARMS],
        },
        {
            "throughput": {
                "bar": "at least .85 of two processes, void below 1.7x of one process",
                "measured": said if scaling >= 1.7 else f"void: {said}",
                "met": share >= 0.85 if scaling >= 1.7 else None,
            }
        },
    )


ARMS = (
    ("two processes", 2),
    ("two actors of Ray", 2),
    ("one process", 1),
    ("two actors of Ray", 2),
    ("two processes", 2),
)


def _run(arm: str, source: Path, out: Path, workers: int) -> None:
    if arm == "two actors of Ray":
        attar.build_index(source, out, ENCODER, "float16", engine=RayEngine(workers)).close()
        return
    plan = plan_build(read_source(source), out, attar.codec("float16"), attar.encoder(ENCODER))
    parts = out.with_name(f"{out.name}.parts")
    parts.mkdir()
    blocks = tuple(cut_blocks(plan))
    task = Task(corpus_of(plan), plan.encoder, parts, blocks, 0, "cosine", "", False)
    task.publish(attar.codec("float16").fit(np.eye(384, dtype=np.float32)))
    processes(task, workers)
