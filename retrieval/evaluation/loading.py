"""Queries and other vectors for evaluations: texts that are embedded, or `.npy` as it is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attar.retrieval.indexing.embed import embed_documents
from attar.retrieval.sources import NpySource, Source, read_queries
from attar.stores.protocols import Encoder
from attar.stores.types import Float32


@dataclass(frozen=True)
class Asked:
    """Queries float32 [m d] with their m ids, and their texts where there are any."""

    ids: tuple[str, ...]
    vectors: Float32
    texts: tuple[str, ...] | None = None


def load_asked(
    path: Path,
    encoder: Encoder | None,
    limit: int,
    seed: int,
    judged: Collection[str] | None = None,
) -> Asked:
    """Queries of a BEIR folder, a queries.jsonl(.gz), or a `.npy`; at most `limit`, drawn seeded.

    judged: ids of queries to draw from, None for all. ValueError when texts come without an
    encoder, and when no query is judged.
    """
    if path.suffix == ".npy":
        source = NpySource(path)
        ids = source.ids_between(0, len(source))
        rows = _drawn(ids, limit, seed, judged)
        vectors = np.asarray(source.vectors[rows], np.float32)
        return Asked(tuple(ids[row] for row in rows), vectors)
    texts = read_queries(path)
    if encoder is None:
        raise ValueError(
            f"{path} holds texts and the documents are bare vectors; pass --encoder NAME, the "
            "model that made them, or queries as .npy."
        )
    names = list(texts)
    kept = [names[row] for row in _drawn(names, limit, seed, judged)]
    words = tuple(texts[name] for name in kept)
    return Asked(tuple(kept), encoder.encode_queries(words), words)


def load_documents(
    source: Source, encoder: Encoder | None, advance: Callable[[int], None] = lambda count: None
) -> tuple[tuple[str, ...], Float32]:
    """All documents of a source: ids and vectors [n d], in memory."""
    if isinstance(source, NpySource):
        return tuple(source.ids_between(0, len(source))), np.asarray(source.vectors, np.float32)
    if encoder is None:
        raise ValueError("A corpus of texts needs an encoder; pass one, or pass vectors.")
    documents = list(source)
    texts = [document.text for document in documents]
    return tuple(document.id for document in documents), embed_documents(encoder, texts, advance)


def _drawn(names: list[str], limit: int, seed: int, judged: Collection[str] | None) -> list[int]:
    rows = [row for row, name in enumerate(names) if judged is None or name in judged]
    if not rows:
        raise ValueError(
            f"No query is judged: {len(names):,} queries and the judgements have no id in common; "
            "give the queries and the judgements of one collection."
        )
    if len(rows) <= limit:
        return rows
    drawn = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
    return [rows[at] for at in np.sort(drawn)]
