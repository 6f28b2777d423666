"""Vectors in `.npy` files and in Parquet, and the exports of a store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.interchange.collection import Collection, from_row, size_of
from attar.stores.transfer.export import read_export
from attar.stores.transfer.rows import BATCH, Rows

ID_NAMES = ("id", "_id", "ids", "doc_id")
VECTOR_NAMES = ("vector", "embedding", "embeddings", "vectors", "emb")
TEXT_NAMES = ("text", "document", "content", "page_content")


def open_npy(path: Path, ids: list[str] | None = None, metric: str = "cosine") -> Collection:
    """An array [n d] of numbers. ids: one per row; row numbers without them."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} is no .npy array of numbers: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array):
        raise ValueError(f"{path} holds an array {array.dtype} {array.shape}; vectors are [n d].")
    names = [str(row) for row in range(len(array))] if ids is None else list(ids)
    if len(names) != len(array):
        raise ValueError(f"ids has one entry per row: {len(array)} rows, {len(names)} ids.")

    def read(start: int) -> Iterator[Rows]:
        for low in range(start, len(array), BATCH):
            some = names[low : low + BATCH]
            vectors = np.asarray(array[low : low + BATCH], np.float32)
            yield Rows(some, vectors, [None] * len(some), [None] * len(some))

    size = size_of(path)
    return Collection("npy", path.name, metric, array.shape[1], len(array), size, size, read)


def open_parquet(path: Path, metric: str = "cosine") -> Collection:
    """A Parquet file with a column of vectors (lists of numbers of one length).

    Columns are found by name: vector | embedding, id, text | document | content; the rest becomes
    metadata; a text column `metadata` is read as JSON.
    """
    parquet = require("pyarrow.parquet", "sources")
    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    vector = _named(names, VECTOR_NAMES)
    if vector is None:
        raise ValueError(
            f"{path} has the columns {', '.join(names)}; vectors are looked for in "
            f"{', '.join(VECTOR_NAMES)}. Rename the column."
        )
    count = file.metadata.num_rows
    first = next(file.iter_batches(1, columns=[vector]), None)
    if first is None:
        raise ValueError(f"{path} is empty; there is nothing to read.")
    columns = (vector, _named(names, ID_NAMES), _named(names, TEXT_NAMES))

    def read(start: int) -> Iterator[Rows]:
        row = 0
        for batch in file.iter_batches(BATCH):
            # A batch may be shorter than asked for, so rows are counted.
            if row + len(batch) > start:
                yield _rows(batch.slice(max(0, start - row)), max(row, start), columns)
            row += len(batch)

    size = size_of(path)
    dim = len(first.column(0)[0])
    return Collection("parquet", path.name, metric, dim, count, None, size, read)


def open_export(path: Path, metric: str = "cosine") -> Collection:
    """What `attar.stores.transfer.export` wrote."""
    first = next(read_export(path), None)
    if first is None:
        raise ValueError(f"{path} is empty; there is nothing to read.")
    count = sum(len(rows.ids) for rows in read_export(path))

    def read(start: int) -> Iterator[Rows]:
        return from_row(read_export(path), start)

    dim = first.vectors.shape[1]
    return Collection("export", path.name, metric, dim, count, None, size_of(path), read)


def _named(names: list[str], wanted: tuple[str, ...]) -> str | None:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in wanted if name in lower), None)


def _rows(batch: Any, row: int, columns: tuple[str, str | None, str | None]) -> Rows:
    vector, name, text = columns
    vectors = np.asarray(batch.column(vector).to_pylist(), np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"Vectors of one column have one length; rows from {row} on do not.")
    plain = batch.to_pydict()
    ids = [str(i) for i in plain[name]] if name else [str(row + i) for i in range(len(batch))]
    texts = plain[text] if text else [None] * len(batch)
    rest = [key for key in plain if key not in columns]
    notes: list[dict[str, Any] | None] = []
    for at in range(len(batch)):
        note = {key: plain[key][at] for key in rest if plain[key][at] is not None}
        if isinstance(note.get("metadata"), str):
            note |= json.loads(note.pop("metadata"))
        notes.append(note or None)
    return Rows(ids, vectors, texts, notes)
