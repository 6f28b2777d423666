"""What the proxy adds: latency against a scripted upstream on loopback, and 200 streams at once.

Direct and proxied requests in turn, over kept-alive connections, wall time (a latency has no other
clock); the proxy runs in a process of its own. The request is a chat of 40 messages below its
budget, so that everything is read and counted and nothing is changed.
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import statistics
import time
from typing import Any

import httpx
import psutil

from attar.context.proxy import ProxySettings, create_app
from bench.registry import Result, bench
from tests.context.conversations import chat
from tests.context.proxy.upstream import ScriptedUpstream, event_of

STREAMS, EVENTS = 200, 50


def _proxy(upstream: str, port: int, enabled: bool) -> None:
    import uvicorn

    settings = ProxySettings(upstream, 10**6, enabled=enabled)
    uvicorn.run(create_app(settings), port=port, log_level="critical", access_log=False)


def _started(upstream: str, enabled: bool) -> tuple[Any, int]:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = multiprocessing.get_context("spawn").Process(
        target=_proxy, args=(upstream, port, enabled), daemon=True
    )
    process.start()
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
            return process, port
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("The proxy did not start within a minute.")


def _cpu(process: Any) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _ask(connection: http.client.HTTPConnection, body: bytes) -> float:
    start = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    received = connection.getresponse().read()
    seconds = time.perf_counter() - start
    if received != body:
        raise ValueError("The echo is not what was sent.")
    return seconds


async def _streams(port: int) -> int:
    """Return how many of the streams arrived whole and in order."""

    async def one(client: httpx.AsyncClient, user: str) -> bool:
        body = {"messages": [{"role": "user", "content": "x"}], "stream": EVENTS, "user": user}
        got = b""
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            async for part in response.aiter_raw():
                got += part
        return got == b"".join(event_of(user, i) for i in range(EVENTS))

    limits = httpx.Limits(max_connections=None)
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=300) as client:
        return sum(await asyncio.gather(*(one(client, f"u{i}") for i in range(STREAMS))))


@bench("context/proxy_latency", gate="tests/context/proxy")
def proxy_latency(quick: bool) -> Result:
    rounds = 50 if quick else 1000
    upstream = ScriptedUpstream()
    body = json.dumps({"model": "m", "messages": chat(1, 12)}).encode()
    started = {e: _started(upstream.url, e) for e in (False, True)}
    ports = {"direct": upstream.port, "disabled": started[False][1], "enabled": started[True][1]}
    connections = {n: http.client.HTTPConnection("127.0.0.1", p) for n, p in ports.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ports}
    before = {e: _cpu(process) for e, (process, _) in started.items()}
    for turn in range(rounds + 20):
        for name, connection in connections.items():
            took = _ask(connection, body)
            if turn >= 20:
                seconds[name].append(took)
    each = {e: (_cpu(p) - before[e]) / (rounds + 20) * 1e3 for e, (p, _) in started.items()}
    cpu = {"direct": 0.0, "disabled": each[False], "enabled": each[True]}
    whole = asyncio.run(_streams(ports["enabled"]))
    for process, _ in started.values():
        process.terminate()
    upstream.close()
    rows = [
        {"arm": name} | _summary(s, seconds["direct"]) | {"proxy CPU ms per request": cpu[name]}
        for name, s in seconds.items()
    ]
    added = {r["arm"]: r["added p50 ms"] for r in rows}
    setup = {"rounds": rounds, "body bytes": len(body), "messages": len(chat(1, 12)),
             "streams": STREAMS, "events each": EVENTS,
             "load average": os.getloadavg()[0], "cores": os.cpu_count()}  # fmt: skip
    bars = {
        "added latency without compression": {
            "bar": "under 5 ms at p50",
            "measured": f"{added['disabled']:.2f} ms disabled, {added['enabled']:.2f} ms enabled "
            "and below the budget",
            "met": max(added["disabled"], added["enabled"]) < 5,
        },
        "200 concurrent streams": {
            "bar": "none loses or reorders an event", "measured": f"{whole} of {STREAMS} whole",
            "met": whole == STREAMS,
        },
    }  # fmt: skip
    return Result(rows, setup, bars)


def _summary(seconds: list[float], direct: list[float]) -> dict[str, float]:
    added = [a - b for a, b in zip(seconds, direct, strict=True)]
    return {
        "p50 ms": 1e3 * statistics.median(seconds),
        "p95 ms": 1e3 * statistics.quantiles(seconds, n=20)[-1],
        "added p50 ms": 1e3 * statistics.median(added),
    }
