"""Embeddings that sentence-transformers gave, saved as tensors: `.safetensors` and `.pt`.

    torch.save(model.encode(texts, convert_to_tensor=True), "embeddings.pt")

Only tensors are read from a `.pt`: torch refuses everything else (weights_only), so that nothing is
unpickled. Pickles of arrays are refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.interchange.arrays import ID_NAMES, TEXT_NAMES, VECTOR_NAMES
from attar.retrieval.interchange.collection import Collection, size_of
from attar.stores.transfer.rows import BATCH, Rows


def open_tensors(path: Path, ids: list[str] | None = None, metric: str = "cosine") -> Collection:
    """One tensor [n d] of a file, or of a dictionary in it, where it is found by name.

    A `.pt` may hold {"embeddings": tensor, "ids": [...], "texts": [...]}. ids: given here, or
    there, or else row numbers.
    """
    content = _safetensors(path) if path.suffix == ".safetensors" else _pt(path)
    named = content if isinstance(content, dict) else {VECTOR_NAMES[0]: content}
    key = next((name for name in (*VECTOR_NAMES, *named) if name in named), None)
    x = _array(named[key]) if key is not None else None
    if x is None or x.ndim != 2 or not len(x):
        raise ValueError(
            f"{path} holds {', '.join(map(str, named)) or 'nothing'}; vectors are one tensor "
            f"[n d], alone or under a name such as {VECTOR_NAMES[1]}."
        )
    names = ids or _strings(named, (*ID_NAMES, "ids")) or [str(row) for row in range(len(x))]
    texts: list[Any] = _strings(named, (*TEXT_NAMES, "texts", "sentences")) or [None] * len(x)
    for what, values in (("ids", names), ("texts", texts)):
        if len(values) != len(x):
            raise ValueError(f"{what} has one entry per row: {len(x)} rows, {len(values)} {what}.")

    def read(start: int) -> Iterator[Rows]:
        for low in range(start, len(x), BATCH):
            rows = slice(low, low + BATCH)
            some = names[rows]
            yield Rows(some, x[rows].astype(np.float32), texts[rows], [None] * len(some))

    size, vectors = size_of(path), int(x.nbytes)
    return Collection("tensors", path.name, metric, x.shape[1], len(x), vectors, size, read)


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error


def _pt(path: Path) -> Any:
    torch = require("torch", "text")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} holds more than tensors, lists and strings, and is not read: a pickle could "
            "run anything. Save the embeddings with torch.save or numpy.save."
        ) from error


def _array(value: Any) -> np.ndarray | None:
    plain = value.detach().float().numpy() if hasattr(value, "detach") else np.asarray(value)
    return plain if plain.dtype.kind in "fiu" else None


def _strings(named: dict[str, Any], wanted: tuple[str, ...]) -> list[str] | None:
    found = next((named[name] for name in wanted if name in named), None)
    return None if found is None or not isinstance(found, list) else [str(one) for one in found]
