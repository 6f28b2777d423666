"""Exports that other tools read, and their way back into a store.

npy           vectors.npy float32 [n d] and documents.jsonl
safetensors   vectors.safetensors with one tensor `vectors` and documents.jsonl
parquet       documents.parquet: id, text, metadata (JSON text), vector (list of float32)

Vectors are the kept originals, or else what the codes give back. Nothing is ever unpickled.
"""

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from attar.stores.disk.durable import explained
from attar.stores.reading import StoreReading
from attar.stores.store import Store
from attar.stores.transfer.rows import BATCH, DocumentLines, Rows, rows_of
from attar.stores.types import Float32

NPY, SAFETENSORS, PARQUET = "vectors.npy", "vectors.safetensors", "documents.parquet"


def export(store: StoreReading, target: Path, form: str, originals: bool | None = None) -> int:
    """Write a store's documents into the new folder `target`; returns how many.

    form: "npy", "safetensors" or "parquet". originals: None takes them where they are kept.
    """
    if form not in _WRITERS:
        raise ValueError(f"An export is {', '.join(_WRITERS)}; got {form!r}.")
    if target.exists():
        raise FileExistsError(f"An export needs a path that does not exist; {target} does.")
    if store.dim is None:
        raise ValueError("An export needs documents; this store never had one.")
    kept = bool(store.info()["originals"])
    draft = target.with_name(f".{target.name}.new-{secrets.token_hex(4)}")
    try:
        with explained("An export", target.parent):
            draft.mkdir()
            rows = rows_of(store, kept if originals is None else originals)
            _WRITERS[form](draft, rows, len(store), store.dim)
            draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return len(store)


def import_into(store: Store, source: Path) -> int:
    """Add what `export` wrote to a store, one commit per thousand; returns how many documents."""
    count = 0
    for rows in read_export(source):
        store.add(rows.ids, rows.vectors, rows.texts, rows.metadata)
        count += len(rows.ids)
    return count


def read_export(source: Path) -> Iterator[Rows]:
    """Batches of an export, whatever its form."""
    if (source / PARQUET).is_file():
        yield from _read_parquet(source / PARQUET)
    elif (source / NPY).is_file():
        yield from _read_beside(source, np.load(source / NPY, mmap_mode="r", allow_pickle=False))
    elif (source / SAFETENSORS).is_file():
        yield from _read_beside(source, _map_safetensors(source / SAFETENSORS))
    else:
        raise ValueError(
            f"An export has one of {NPY}, {SAFETENSORS}, {PARQUET}; {source} has none of them."
        )


def _write_npy(folder: Path, rows: Iterator[Rows], n: int, dim: int) -> None:
    array = np.lib.format.open_memmap(
        folder / NPY, mode="w+", dtype=np.float32, shape=(n, dim), version=(1, 0)
    )
    _fill(folder, rows, array)
    array.flush()


def _write_safetensors(folder: Path, rows: Iterator[Rows], n: int, dim: int) -> None:
    entry = {"dtype": "F32", "shape": [n, dim], "data_offsets": [0, 4 * n * dim]}
    head = json.dumps({"vectors": entry}).encode()
    head += b" " * (-len(head) % 8)
    with (folder / SAFETENSORS).open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + 4 * n * dim)
    array = np.zeros((0, dim), np.float32)
    if n:
        array = np.memmap(folder / SAFETENSORS, "<f4", "r+", 8 + len(head), (n, dim))
    _fill(folder, rows, array)


def _fill(folder: Path, rows: Iterator[Rows], array: Float32) -> None:
    lines, at = DocumentLines(folder), 0
    try:
        for some in rows:
            array[at : at + len(some.ids)] = some.vectors
            at += len(some.ids)
            lines.write(some)
    finally:
        lines.close()


def _write_parquet(folder: Path, rows: Iterator[Rows], n: int, dim: int) -> None:
    arrow, parquet = _pyarrow()
    vector = arrow.list_(arrow.float32(), dim)
    text = arrow.string()
    schema = arrow.schema([("id", text), ("text", text), ("metadata", text), ("vector", vector)])
    with parquet.ParquetWriter(folder / PARQUET, schema) as writer:
        for some in rows:
            notes = [
                None if m is None else json.dumps(m, ensure_ascii=False) for m in some.metadata
            ]
            flat = arrow.array(some.vectors.ravel())
            vectors = arrow.FixedSizeListArray.from_arrays(flat, dim)
            columns = [some.ids, some.texts, arrow.array(notes, text), vectors]
            writer.write_table(arrow.table(columns, schema=schema))


def _read_parquet(path: Path) -> Iterator[Rows]:
    _, parquet = _pyarrow()
    for batch in parquet.ParquetFile(path).iter_batches(BATCH):
        columns = {name: batch.column(name) for name in ("id", "text", "metadata", "vector")}
        dim = columns["vector"].type.list_size
        flat = columns["vector"].flatten().to_numpy(zero_copy_only=False)
        notes = [None if m is None else json.loads(m) for m in columns["metadata"].to_pylist()]
        yield Rows(
            columns["id"].to_pylist(),
            np.asarray(flat, np.float32).reshape(-1, dim),
            columns["text"].to_pylist(),
            notes,
        )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            "Parquet needs pyarrow. Install it with: pip install 'attar[sources]'."
        ) from None
    return pyarrow, pyarrow.parquet


def _map_safetensors(path: Path) -> Float32:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        vectors: Float32 = file.get_tensor("vectors")
    return vectors


def _read_beside(source: Path, vectors: Float32) -> Iterator[Rows]:
    """Batches of an array and the lines beside it."""
    lines, at = DocumentLines.read(source), 0
    while some := list(islice(lines, BATCH)):
        ids, texts, notes = (list(column) for column in zip(*some, strict=True))
        if at + len(ids) > len(vectors):
            break
        yield Rows(ids, np.asarray(vectors[at : at + len(ids)]), texts, notes)
        at += len(ids)
    if some or at != len(vectors):
        raise ValueError(
            f"{source} has {len(vectors)} vectors and {'more' if some else at} documents; an "
            "export has one of each. Export again."
        )


_Writer = Callable[[Path, Iterator[Rows], int, int], None]
_WRITERS: dict[str, _Writer] = {
    "npy": _write_npy,
    "safetensors": _write_safetensors,
    "parquet": _write_parquet,
}
