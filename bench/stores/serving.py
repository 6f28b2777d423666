"""A server with 64 clients at once against the same searches as one batch in the process."""

import asyncio
import io
import multiprocessing
import socket
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

import attar
from bench.registry import Result, bench
from bench.stores.documents import batch, batches

CLIENTS = 64


def _serve(path: str, port: int) -> None:
    from attar.server import serve

    serve(Path(path), port=port)


def _body(query: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, query[None])
    return stream.getvalue()


async def _ask(port: int, queries: np.ndarray, rounds: int) -> list[float]:
    times: list[float] = []
    head = {"Content-Type": "application/x-npy"}
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def one(query: np.ndarray, note: bool) -> None:
            start = time.perf_counter()
            url = f"http://127.0.0.1:{port}/v1/search?k=10"
            answer = await client.post(url, content=_body(query), headers=head)
            answer.raise_for_status()
            if note:
                times.append(1000 * (time.perf_counter() - start))

        for turn in range(rounds + 1):
            await asyncio.gather(*(one(q, turn > 0) for q in queries))
    return times


@bench("stores/serving", gate="tests/attar/test_server.py")
def serving(quick: bool) -> Result:
    """64 clients ask one query each, round after round; then 64 queries in one call."""
    n, dim, rounds = (20_000, 64, 3) if quick else (200_000, 256, 12)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        with attar.Store.create(path, attar.codec("int8").fit(batch(0, 10_000, dim))) as store:
            for ids, x, _ in batches(n, 10_000, dim):
                store.add(ids, x)
        queries = batch(10**9, CLIENTS, dim)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(str(path), port))
        server.start()
        try:
            _wait_for(port)
            served = asyncio.run(_ask(port, queries, rounds))
        finally:
            server.terminate()
            server.join()
        inside = []
        with attar.open(path) as store:
            for _ in range(rounds + 1):
                start = time.perf_counter()
                store.search(queries, 10)
                inside.append(1000 * (time.perf_counter() - start))
    rows = [
        {"arm": arm, "p50_ms": float(np.percentile(t, 50)), "p99_ms": float(np.percentile(t, 99))}
        for arm, t in (("server", served), ("in process, batch of 64", inside[1:]))
    ]
    ratio = rows[0]["p99_ms"] / rows[1]["p50_ms"]
    return Result(
        rows,
        {"n": n, "dim": dim, "codec": "int8", "clients": CLIENTS, "rounds": rounds, "wall": True},
        {
            "p99": {
                "bar": "server p99 at 64 clients <= 3x of the in-process p50 of the same batch",
                "measured": round(ratio, 2),
                "met": bool(ratio <= 3) if not quick else None,
            }
        },
    )


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
            return
        except httpx.ConnectError:
            time.sleep(0.1)
    raise RuntimeError("The server did not come up within a minute.")
