"""Chroma's folders."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.interchange.collection import Collection, size_of, the_one
from attar.stores.transfer.rows import BATCH, Rows

METRICS = {"cosine": "cosine", "ip": "ip", "l2": "l2"}
CATALOG = "chroma.sqlite3"


def open_chroma(path: Path, collection: str | None = None) -> Collection:
    """A collection of a Chroma folder, through chromadb itself (telemetry off)."""
    chromadb = require("chromadb", "chroma")
    if not (path / CATALOG).is_file():
        raise ValueError(f"A Chroma folder has {CATALOG}; {path} has not. Give its persist path.")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(path), settings=settings)
    name = the_one("Chroma", path, [one.name for one in client.list_collections()], collection)
    held = client.get_collection(name, embedding_function=None)
    first = held.peek(1)["embeddings"]
    if not len(first):
        raise ValueError(f"The collection {name!r} of {path} is empty; there is nothing to read.")
    configured = held.configuration or {}
    space = (configured.get("hnsw") or configured.get("spann") or {}).get("space", "l2")

    def read(start: int) -> Iterator[Rows]:
        while True:
            got = held.get(
                limit=BATCH, offset=start, include=["embeddings", "documents", "metadatas"]
            )
            if not got["ids"]:
                return
            texts, notes = got["documents"], got["metadatas"]
            yield Rows(
                list(got["ids"]),
                np.asarray(got["embeddings"], np.float32),
                list(texts),
                [None if m is None else dict(m) for m in notes],
            )
            start += len(got["ids"])

    total = size_of(path)
    return Collection(
        "chroma",
        name,
        METRICS[space],
        len(first[0]),
        held.count(),
        total - size_of(path / CATALOG),
        total,
        read,
    )
