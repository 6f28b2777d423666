"""The same documents in every library that is read."""

from pathlib import Path
from typing import Any

import numpy as np

DIM, COUNT = 48, 1500
IDS = [f"d{i}" for i in range(COUNT)]
TEXTS = [f"text number {i}" for i in range(COUNT)]
NOTES: list[dict[str, Any]] = [
    {"number": i, "parity": "odd" if i % 2 else "even"} for i in range(COUNT)
]


def vectors() -> np.ndarray:
    """Unit vectors with falling variances, as encoders give them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((COUNT, DIM)) * 0.93 ** np.arange(DIM)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def make_chroma(path: Path, space: str = "cosine") -> Path:
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    held = client.create_collection(
        "docs", configuration={"hnsw": {"space": space}}, embedding_function=None
    )
    held.add(ids=IDS, embeddings=vectors(), documents=TEXTS, metadatas=NOTES)
    return path


def make_lance(path: Path) -> Path:
    import lancedb
    import pyarrow as pa

    database = lancedb.connect(str(path))
    flat = pa.array(vectors().ravel())
    columns = {
        "id": IDS,
        "text": TEXTS,
        "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
        "number": [n["number"] for n in NOTES],
        "parity": [n["parity"] for n in NOTES],
    }
    database.create_table("docs", pa.table(columns))
    return path


def make_parquet(path: Path) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        "_id": IDS,
        "content": TEXTS,
        "embedding": vectors().tolist(),
        "number": [n["number"] for n in NOTES],
        "parity": [n["parity"] for n in NOTES],
    }
    parquet.write_table(pa.table(columns), path, row_group_size=700)
    return path


def make_npy(path: Path) -> Path:
    np.save(path, vectors())
    return path


def make_faiss(path: Path, kind: str = "Flat") -> Path:
    import faiss

    index = faiss.index_factory(DIM, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors())
    index.add(vectors())
    faiss.write_index(index, str(path))
    return path
