"""A billion vectors of 768 dimensions: the arithmetic, from what was measured.

Measured here: `RemoteStore` over servers on this machine against one store (what fanning out and
merging cost), and the merging itself. Measured elsewhere and read from its result: milliseconds and
bytes of searching a million vectors on one core (`search/flat`). Simulated: N shards that answer
independently, each as fast as its size says times a factor drawn from the spread of the measured
latencies; a query is as slow as its slowest shard. Assumed: the prices and machines named below.
"""

import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

import attar
from attar.server import create_app
from attar.stores.shards import merge, split
from attar.stores.types import Hits
from bench.registry import Result, bench

VECTORS, DIM, K = 1_000_000_000, 768, 10
CORES, MEMORY_GB, HOUR = 16, 64, 0.70
"""Of a machine: cores, usable memory, dollars an hour (assumed; a general-purpose cloud price)."""
GB_MONTH = 0.023
"""Dollars a gigabyte and month on object storage (assumed)."""
ROUND_TRIP_MS = 0.5
"""Between machines of one data centre (assumed)."""
ID_BYTES = 40
"""Id, row and index of a document in the catalog, without its text (assumed from small stores)."""
FLAT = Path(__file__).parents[1] / "results" / "search_flat.json"
DRAWS = 20_000


def loopback(rows: int, asked: int) -> tuple[dict[str, float], np.ndarray]:
    """Median milliseconds of one store and of four servers, and all of the servers' latencies."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 64)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        with attar.Store.create(base / "s", "int8") as store:
            store.add([f"d{i}" for i in range(rows)], x)
        store = attar.open(base / "s")
        shards = [attar.open(path) for path in split(store, base / "shards", 4)]
        servers = [_serve(shard) for shard in shards]
        try:
            with attar.RemoteStore([url for url, _ in servers]) as remote:
                queries = rng.standard_normal((asked, 64)).astype(np.float32)
                alone = _times(lambda q: store.search(q, K), queries)
                apart = _times(lambda q: remote.search(q, K), queries)
        finally:
            for _, stop in servers:
                stop()
            for one in (store, *shards):
                one.close()
    medians = {"one store": statistics.median(alone), "4 servers": statistics.median(apart)}
    return {name: 1000 * value for name, value in medians.items()}, np.array(apart)


def _times(ask: Callable[[np.ndarray], Any], queries: np.ndarray) -> list[float]:
    seconds = []
    for q in queries:
        start = time.perf_counter()
        ask(q)
        seconds.append(time.perf_counter() - start)
    return seconds[len(seconds) // 10 :]


def _serve(store: attar.Store) -> tuple[str, Callable[[], None]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app(store), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def stop() -> None:
        server.should_exit = True
        thread.join(10)

    return f"http://127.0.0.1:{port}", stop


def merging_ms(shards: int) -> float:
    """Milliseconds to merge the answers of that many shards to one query."""
    rng = np.random.default_rng(1)
    answers = []
    for shard in range(shards):
        scores = np.sort(rng.random(K).astype(np.float32))[::-1][None]
        ids = np.array([[f"{shard}-{i}" for i in range(K)]], object)
        answers.append(Hits(ids, scores))
    return 1000 * statistics.median(_times(lambda q: merge(answers, K), np.zeros((30, 1))))


def simulated(shards: int, shard_ms: float, factors: np.ndarray, merge_ms: float) -> np.ndarray:
    """Milliseconds of queries that wait for the slowest of their shards."""
    rng = np.random.default_rng(2)
    worst = np.array([rng.choice(factors, shards).max() for _ in range(DRAWS)])
    return shard_ms * worst + merge_ms + ROUND_TRIP_MS


def plan(row: dict[str, Any], factors: np.ndarray) -> dict[str, Any]:
    """Machines, latency and cost of a billion vectors under one measured codec."""
    size = row["B/vec"] + ID_BYTES
    total_gb = VECTORS * size / 1e9
    shards = int(np.ceil(total_gb / MEMORY_GB))
    millions = VECTORS / shards / 1e6
    shard_ms = row["ms b1"] * millions / CORES
    merge_ms = merging_ms(shards)
    ms = simulated(shards, shard_ms, factors, merge_ms)
    batched = 1000 * CORES / (row["ms b256"] * millions)
    return {
        "codec": row["system"].removeprefix("attar "),
        "recall@10": row["recall@10"],
        "bytes a vector": row["B/vec"],
        "GB in all": round(total_gb),
        "float32 GB": round(VECTORS * (4 * DIM + ID_BYTES) / 1e9),
        "machines": shards,
        "vectors a machine (M)": round(millions, 1),
        "p50 ms": float(np.percentile(ms, 50)),
        "p99 ms": float(np.percentile(ms, 99)),
        "queries/s in batches": batched,
        "$ a month": round(shards * HOUR * 730 + total_gb * GB_MONTH),
        "$ a million queries": 1e6 / batched * shards * HOUR / 3600,
    }


@bench("ecosystem/scale", gate="tests/attar/test_remote.py")
def scale(quick: bool) -> Result:
    """Fan-out on this machine, then the plan for a billion."""
    medians, seconds = loopback(2_000 if quick else 20_000, 60 if quick else 300)
    factors = seconds / np.median(seconds)
    measured = json.loads(FLAT.read_text())
    rows = [plan(row, factors) for row in measured["rows"] if row["system"].startswith("attar ")]
    return Result(
        rows,
        {
            "fan-out here, ms": {name: round(value, 3) for name, value in medians.items()},
            "spread here": f"p99 {np.percentile(factors, 99):.2f} x the median",
            "searching a million": f"search/flat, commit {measured['commit']}, one core",
            "assumed": {
                "machine": f"{CORES} cores, {MEMORY_GB} GB, ${HOUR} an hour",
                "object storage": f"${GB_MONTH} a GB and month",
                "network": f"{ROUND_TRIP_MS} ms",
                "catalog": f"{ID_BYTES} bytes a document, texts elsewhere",
            },
            "not measured": "a billion vectors; more cores than two; a network",
        },
        {
            "exact": {
                "bar": "four servers answer what one store answers",
                "measured": "tests/attar/test_remote.py, bit for bit",
                "met": True,
            }
        },
    )
