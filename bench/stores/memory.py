"""Anonymous memory, open files and the folder's size over an hour of mixed load."""

import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import attar
from bench.machine import memory_of
from bench.registry import Result, bench
from bench.stores.documents import batch, texts

DIM, DOCUMENTS = 64, 2000
BUSY = 0.1
"""Share of a core that each process takes: an hour of pauses is an hour too."""


@bench("stores/memory", gate="tests/stores/test_store.py")
def memory(quick: bool) -> Result:
    """A writer (this process) and a reader (another), looked at sixty times."""
    seconds = 30 if quick else 3600
    rows, turns = mixed(seconds)
    grown = {who: growth([row[f"{who}_mb"] for row in rows]) for who in ("writer", "reader")}
    return Result(
        rows,
        {"seconds": seconds, "turns_of_the_writer": turns, "dim": DIM, "documents": DOCUMENTS}
        | {"busy": BUSY, "growth": grown},
        {
            "flat": {
                "bar": "RssAnon over an hour: median of the last quarter <= 1.05x of the second's",
                "measured": round(max(grown.values()), 4),
                "met": max(grown.values()) <= 1.05 if not quick else None,
            }
        },
    )


def mixed(seconds: float, looks: int = 60, busy: float = BUSY) -> tuple[list[dict[str, Any]], int]:
    """Run both for `seconds`; returns what was seen at `looks` times, and the writer's turns."""
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path, stop, turn = Path(folder) / "store", context.Event(), 0
        attar.Store.create(path, attar.codec("int8"), text_index=True).close()
        reader = context.Process(target=_read, args=(str(path), stop, busy))
        reader.start()
        try:
            start = time.monotonic()
            while len(rows) < looks:
                with attar.open(path, "w") as store:
                    # A writer that opens the store again and again may lose maps and handles.
                    for _ in range(200):
                        _paced(lambda store=store, turn=turn: _write(store, turn), busy)
                        turn += 1
                        if time.monotonic() - start >= (len(rows) + 1) * seconds / looks:
                            rows.append(_seen(time.monotonic() - start, path, reader.pid))
                            sys.stderr.write(f"{rows[-1]}\n")
                        if len(rows) == looks:
                            break
        finally:
            stop.set()
            reader.join()
        if reader.exitcode != 0:
            raise RuntimeError(f"The reader ended with {reader.exitcode}.")
    return rows, turn


def growth(series: list[float]) -> float:
    """Median of the last quarter over that of the second: the first warms up."""
    quarter = len(series) // 4
    return statistics.median(series[-quarter:]) / statistics.median(series[quarter : 2 * quarter])


def _write(store: attar.Store, turn: int) -> None:
    draw = random.Random(turn)
    ids = [f"d{i}" for i in draw.sample(range(DOCUMENTS), 50)]
    x = batch(turn, 50, DIM)
    store.upsert(ids, x, texts(turn, 50), [{"n": turn % 7, "at": turn}] * 50)
    store.update(ids[:5], metadata=[{"n": -1}] * 5)
    store.delete(ids[5:10])
    store.search(x[:4], 10)
    if turn % 100 == 99:
        store.compact()


def _read(path: str, stop: Event, busy: float) -> None:
    turn = 0
    with attar.open(path) as store:
        while not stop.is_set():
            _paced(lambda turn=turn: _ask(store, turn), busy)
            turn += 1


def _ask(store: attar.Store, turn: int) -> None:
    q = batch(10**9 + turn, 4, DIM)
    store.refresh()
    store.search(q, 10, filter={"n": {"$gt": turn % 7}})
    store.search(q[0], 10, text="commit of the reader", alpha=0.5)
    store.get(store.search(q, 10).ids[0].tolist())
    if turn % 50 == 0:
        sum(len(record.text or "") for record in store.iter())


def _paced(work: Callable[[], None], busy: float) -> None:
    start = time.thread_time()
    work()
    time.sleep((time.thread_time() - start) * (1 / busy - 1))


def _seen(seconds: float, path: Path, reader: int | None) -> dict[str, Any]:
    return {
        "minute": round(seconds / 60, 2),
        "writer_mb": anonymous_mb(os.getpid()),
        "reader_mb": anonymous_mb(reader),
        "writer_files": len(os.listdir("/proc/self/fd")),
        "reader_files": len(os.listdir(f"/proc/{reader}/fd")),
        "folder_mb": sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 2**20,
        "log_mb": sum(p.stat().st_size for p in path.glob("*-wal")) / 2**20,
    }


def anonymous_mb(pid: int | None) -> float:
    """RssAnon in MiB: mapped segments are the page cache's, not the process's."""
    return memory_of("self" if pid is None else pid)["RssAnon"] / 2**20
