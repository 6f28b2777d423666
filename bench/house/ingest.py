"""Writing precomputed vectors into a store, against bare numpy doing the same arithmetic.

1,000,000 x 768 float32 from a memory-mapped file as `pca50%+float8_e4m3`. The bare arm is what a
script would do: centre, multiply with the basis, cast, `tofile`; no ids, no checks, no commits.
Both arms take the same blocks in turn.
"""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import attar
from bench.registry import Result, Row, bench

DIM = 768
SPEC = "pca50%+float8_e4m3"
BLOCK = 50_000


def fill(path: Path, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Seeded Gaussian rows with a power-law spectrum, unit norm, written block by block."""
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (n, DIM))
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, DIM + 1, dtype=np.float32) ** -0.5).astype(np.float32)
    for start in range(0, n, BLOCK):
        block = rng.standard_normal((min(BLOCK, n - start), DIM), np.float32) * spectrum
        vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    vectors.flush()
    del vectors
    return np.load(path, mmap_mode="r")


class AnonymousPeak:
    """Samples this process's anonymous resident memory (RssAnon) ten times a second."""

    def __init__(self) -> None:
        self.kilobytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            status = Path("/proc/self/status").read_text()
            line = next(x for x in status.splitlines() if x.startswith("RssAnon"))
            self.kilobytes = max(self.kilobytes, int(line.split()[1]))

    def __enter__(self) -> "AnonymousPeak":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


@bench("house/ingest", gate="tests/stores/test_store.py")
def ingest(quick: bool) -> Result:
    """Throughput of `Store.add` next to bare numpy, and peak anonymous memory."""
    n = 100_000 if quick else 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="attar-ingest-"))
    seconds = {"attar": [0.0, 0.0], "numpy": [0.0, 0.0]}
    try:
        vectors = fill(folder / "x.npy", n)
        codec = attar.codec(SPEC).fit(vectors[:: max(n // 65_536, 1)][:65_536])
        linear = codec.reducers[0]
        mean, basis = linear.state()["mean"], linear.state()["basis"]
        with (
            AnonymousPeak() as peak,
            attar.Store.create(folder / "store", codec) as store,
            (folder / "bare.bin").open("wb") as bare,
        ):
            for start in range(0, n, BLOCK):
                rows = vectors[start : start + BLOCK]
                ids = [f"d{i}" for i in range(start, start + len(rows))]
                clock = time.perf_counter(), time.process_time()
                store.add(ids, vectors=rows)
                _note(seconds["attar"], clock)
                clock = time.perf_counter(), time.process_time()
                ((rows - mean) @ basis).astype(ml_dtypes.float8_e4m3fn).tofile(bare)
                _note(seconds["numpy"], clock)
            held = len(store)
    finally:
        shutil.rmtree(folder)
    if held != n:
        raise RuntimeError(f"The store holds {held} documents, {n} were added.")
    rows_out: list[Row] = [
        {
            "arm": arm,
            "vectors/s wall": n / wall,
            "vectors/s CPU": n / cpu,
            "share of numpy, wall": seconds["numpy"][0] / wall,
            "share of numpy, CPU": seconds["numpy"][1] / cpu,
        }
        for arm, (wall, cpu) in seconds.items()
    ]
    share, gigabytes = rows_out[0]["share of numpy, wall"], peak.kilobytes * 1024 / 1e9
    return Result(
        rows=rows_out,
        setup={"n": n, "d": DIM, "codec": SPEC, "block": BLOCK, "seed": 0},
        bars={
            "throughput": {
                "bar": ">= 25 % of bare numpy, wall",
                "measured": share,
                "met": share >= 0.25,
            },
            "memory": {
                "bar": "peak RssAnon < 1.5 GB",
                "measured": f"{gigabytes:.2f} GB",
                "met": gigabytes < 1.5,
            },
        },
    )


def _note(total: list[float], clock: tuple[float, float]) -> None:
    total[0] += time.perf_counter() - clock[0]
    total[1] += time.process_time() - clock[1]
