"""A collection of another library as a compressed store, with what that saved and kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.codec import Codec
from attar.retrieval.housing import open_store
from attar.retrieval.interchange.collection import Collection, size_of
from attar.stores.protocols import Encoder
from attar.stores.sample import FIT_ROWS, id_hash
from attar.stores.store import Store
from attar.stores.types import Float32

DEFAULT_CODEC = "waterfill@24x"
ASKED = 200
K = 10


@dataclass(frozen=True)
class Shrunk:
    """What `shrink` did. Bytes are on disk; None where the source cannot tell.

    vector_bytes of the store: codes and the fitted codec. overlap: share of the exact ten nearest
    neighbours (of the source's vectors) that the store finds too, for up to 200 documents asked as
    queries, themselves left out.
    """

    kind: str
    name: str
    documents: int
    dim: int
    codec: str
    source_vector_bytes: int | None
    vector_bytes: int
    source_bytes: int | None
    store_bytes: int
    overlap: float

    @property
    def vectors_smaller(self) -> float | None:
        """How many times smaller vectors and index are."""
        source = self.source_vector_bytes
        return None if source is None else source / self.vector_bytes

    @property
    def smaller(self) -> float | None:
        """How many times smaller everything is."""
        return None if self.source_bytes is None else self.source_bytes / self.store_bytes


def shrink(
    collection: Collection,
    out: Path,
    codec: str = DEFAULT_CODEC,
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
) -> Shrunk:
    """Write a collection into the new store `out`; a call that was interrupted goes on.

    1. Documents are added a batch at a time, each with the row that it ends at in the same commit.
    2. The codec is fitted when all of them, or 65,536, are there.
    3. Documents, chosen by the hash of their ids, ask the source and the store; both are compared.
    Raises ValueError when `out` was begun from another source or codec.
    """
    made_of = {
        "shrink": collection.kind,
        "name": collection.name,
        "documents": collection.count,
        "codec": Codec.parse(codec).spec,
    }
    store = _store(out, collection, made_of, encoder, seed)
    with store:
        done = int((store.progress or {}).get("rows", 0))
        for rows in collection.read(done):
            done += len(rows.ids)
            store.upsert(rows.ids, rows.vectors, rows.texts, rows.metadata, progress={"rows": done})
        store.compact()
    with open_store(out, "r") as store:
        overlap = _overlap(collection, store, seed)
        facts = store.info()
    disk = facts["disk"]
    return Shrunk(
        collection.kind,
        collection.name,
        facts["n"],
        collection.dim,
        facts["serving"],
        collection.vector_bytes,
        disk["codes"] + disk["codecs"],
        collection.all_bytes,
        size_of(out),
        overlap,
    )


def _store(
    out: Path, collection: Collection, made_of: dict[str, Any], encoder: Encoder | None, seed: int
) -> Store:
    if out.exists():
        store = open_store(out, "w", encoder)
        if store.manifest != made_of:
            has = store.manifest
            store.close()
            raise ValueError(
                f"{out} exists and was made of {has}, not of {made_of}. Choose another --out."
            )
        return store
    return Store.create(
        out,
        Codec.parse(made_of["codec"]),
        encoder,
        collection.metric,
        train_at=min(collection.count, FIT_ROWS),
        seed=seed,
        manifest=made_of,
    )


def _overlap(collection: Collection, store: Store, seed: int) -> float:
    """Mean share of the exact K neighbours that the store finds among its own."""
    names: list[str] = []
    for rows in collection.read(0):
        names += rows.ids
    asked = sorted(names, key=lambda name: id_hash(name, seed))[:ASKED]
    queries = _vectors_of(collection, set(asked))
    asked = list(queries)
    if len(names) <= K:
        return 1.0
    q = np.stack(list(queries.values()))
    exact = _exact(collection, q, K + 1)
    found = store.search(q, K + 1).ids
    shares = []
    for row, name in enumerate(asked):
        truth = [names[i] for i in exact[row] if names[i] != name][:K]
        got = [one for one in found[row] if one != name][:K]
        shares.append(len(set(truth) & set(got)) / K)
    return float(np.mean(shares))


def _vectors_of(collection: Collection, wanted: set[str]) -> dict[str, Float32]:
    return {
        name: vector
        for rows in collection.read(0)
        for name, vector in zip(rows.ids, rows.vectors, strict=True)
        if name in wanted
    }


def _exact(collection: Collection, q: Float32, k: int) -> NDArray[np.int64]:
    """Rows of the k best documents per query [m k], by the collection's metric."""
    scores = np.zeros((len(q), 0), np.float32)
    places = np.zeros((len(q), 0), np.int64)
    start = 0
    for rows in collection.read(0):
        scores = np.concatenate([scores, _scores(q, rows.vectors, collection.metric)], axis=1)
        here = np.arange(start, start + len(rows.ids))
        places = np.concatenate([places, np.broadcast_to(here, (len(q), len(here)))], axis=1)
        start += len(rows.ids)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, best, axis=1)
        places = np.take_along_axis(places, best, axis=1)
    return places


def _scores(q: Float32, x: Float32, metric: str) -> Float32:
    dots = q @ x.T
    if metric == "cosine":
        dots = dots / np.linalg.norm(x, axis=1)
    if metric == "l2":
        dots = 2 * dots - np.einsum("nd,nd->n", x, x)
    return np.asarray(dots, np.float32)
