"""Latency of a reader while a writer in another process adds."""

import multiprocessing
import os
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

import attar
from bench.registry import Result, bench
from bench.stores.documents import batch, batches


def _write(path: str, dim: int, stop: Event) -> None:
    """Add 200 documents at a time until told to stop."""
    turn = 0
    with attar.open(path, "w") as store:
        while not stop.is_set():
            ids = [f"w{os.getpid()}-{turn}-{i}" for i in range(200)]
            store.add(ids, batch(10**8 + turn, 200, dim))
            turn += 1
            time.sleep(0.05)


def _latencies(store: attar.Store, queries: np.ndarray, count: int) -> list[tuple[float, float]]:
    """Wall and CPU milliseconds of single searches on one thread."""
    times = []
    for i in range(count):
        wall, cpu = time.perf_counter(), time.thread_time()
        store.search(queries[i % len(queries)], 10, threads=1)
        times.append((1000 * (time.perf_counter() - wall), 1000 * (time.thread_time() - cpu)))
    return times


@bench("stores/latency", gate="tests/stores/test_concurrency.py")
def latency(quick: bool) -> Result:
    """p50 and p99 of single queries, idle and beside a writer, in turns."""
    n, dim, count, rounds = (20_000, 64, 50, 2) if quick else (100_000, 256, 100, 12)
    spent: dict[str, list[tuple[float, float]]] = {"idle": [], "beside a writer": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        with attar.Store.create(path, attar.codec("int8").fit(batch(0, 10_000, dim))) as store:
            for ids, x, _ in batches(n, 10_000, dim):
                store.add(ids, x)
        queries = batch(10**9, 32, dim)
        context = multiprocessing.get_context("spawn")
        with attar.open(path) as reader:
            _latencies(reader, queries, 10)
            for _ in range(rounds):
                spent["idle"] += _latencies(reader, queries, count)
                stop = context.Event()
                writer = context.Process(target=_write, args=(str(path), dim, stop))
                writer.start()
                while (path / "writer.lock").read_text().strip() != str(writer.pid):
                    time.sleep(0.05)
                spent["beside a writer"] += _latencies(reader, queries, count)
                stop.set()
                writer.join()
                reader.refresh()
    rows = []
    for arm, times in spent.items():
        (p50, cpu50), (p99, cpu99) = np.percentile(times, [50, 99], axis=0).tolist()
        rows.append({"arm": arm, "p50_ms": p50, "p99_ms": p99, "p50_cpu_ms": cpu50})
        rows[-1] |= {"p99_cpu_ms": cpu99, "n": len(times)}
    ratio = rows[1]["p99_ms"] / rows[0]["p99_ms"]
    return Result(
        rows,
        {
            "n": n,
            "dim": dim,
            "codec": "int8",
            "load": os.getloadavg()[0],
            "writer": "200 documents / 50 ms",
        },
        {
            "p99": {
                "bar": "p99 beside a writer <= 1.5x of idle (wall)",
                "measured": round(ratio, 2),
                "met": bool(ratio <= 1.5) if not quick else None,
            },
            "p99_cpu": {
                "bar": "the same in CPU time of the searching thread (other processes left out)",
                "measured": round(rows[1]["p99_cpu_ms"] / rows[0]["p99_cpu_ms"], 2),
                "met": None,
            },
        },
    )
