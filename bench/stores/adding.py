"""Adding a million documents against writing the same bytes plainly; opening what came of it."""

import os
import statistics
import tempfile
import time
from pathlib import Path

import attar
from attar.stores.disk.verify import verify
from bench.registry import Result, bench
from bench.stores.documents import batch, batches

SPEC = "pca50%+float8_e4m3"
BATCH = 10_000


@bench("stores/adding", gate="tests/stores/test_store.py")
def adding(quick: bool) -> Result:
    """Per batch of 10k: `store.add` with texts, then encode + write + fsync of the same bytes."""
    n, dim = (30_000, 256) if quick else (1_000_000, 768)
    codec = attar.codec(SPEC).fit(batch(0, 20_000, dim))
    clocks = (time.process_time, time.perf_counter)
    spent = {"attar": [0.0, 0.0], "plain": [0.0, 0.0]}
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        store = attar.Store.create(path, codec)
        with (Path(folder) / "plain").open("wb") as plain:
            for ids, x, texts in batches(n, BATCH, dim):
                start = [clock() for clock in clocks]
                store.add(ids, x, texts)
                middle = [clock() for clock in clocks]
                codes = codec.encode(x)
                for array in codes.fields.values():
                    plain.write(array.tobytes())
                plain.write("".join(ids).encode() + "".join(texts).encode())
                plain.flush()
                os.fsync(plain.fileno())
                end = [clock() for clock in clocks]
                for i in range(2):
                    spent["attar"][i] += middle[i] - start[i]
                    spent["plain"][i] += end[i] - middle[i]
                ratios.append((end[1] - middle[1]) / (middle[1] - start[1]))
        store.close()
        opened = _open_times(path)
        whole = verify(path).whole if quick else None
        size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    rows = [
        {"arm": arm, "cpu_s": cpu, "wall_s": wall, "documents_per_cpu_s": n / cpu}
        for arm, (cpu, wall) in spent.items()
    ]
    share = spent["plain"][1] / spent["attar"][1]
    setup = {"n": n, "dim": dim, "codec": SPEC, "batch": BATCH, "threads": 1, "bytes": size}
    setup |= {"ratio_median_of_batches": statistics.median(ratios), "verified": whole}
    setup |= {"cpu_ratio": spent["plain"][0] / spent["attar"][0], "open_ms": opened}
    setup |= {"note": "attar compresses texts in a second thread; plain writes them as they are"}
    full = not quick
    return Result(
        rows,
        setup,
        {
            "add": {
                "bar": ">= .60 of the throughput of plain encode + write + fsync (wall)",
                "measured": round(share, 3),
                "met": share >= 0.6 if full else None,
            },
            "open": {
                "bar": "a store of 1M opens in < 150 ms (wall, median of 9)",
                "measured": round(statistics.median(opened), 1),
                "met": statistics.median(opened) < 150 if full else None,
            },
        },
    )


def _open_times(path: Path) -> list[float]:
    """Milliseconds to open and close for reading."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        attar.open(path).close()
        times.append(round(1000 * (time.perf_counter() - start), 2))
    return times
