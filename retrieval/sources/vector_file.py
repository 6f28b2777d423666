"""Vectors in a `.npy` file and the ids of its rows in a file beside it."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.sources.source import SourceError


def load_vectors(path: Path) -> NDArray[np.floating]:
    """Memory-map a `.npy` of floats [n d]; SourceError for anything else."""
    try:
        vectors: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SourceError(
            f"{path} is not a plain .npy array ({error}); write it with numpy.save."
        ) from error
    if vectors.ndim != 2 or vectors.shape[1] == 0 or vectors.dtype.kind != "f":
        raise SourceError(
            f"{path} must hold floats of the shape [n d], got {vectors.dtype} "
            f"{list(vectors.shape)}; save a two-dimensional float array."
        )
    return vectors


def find_ids(vectors: Path) -> Path | None:
    """The file with the ids of a `.npy`, by the usual names beside it."""
    names = (f"{vectors.stem}_ids.json", f"{vectors.stem}_ids.txt", "ids.json", "ids.txt")
    return next(
        (vectors.with_name(name) for name in names if vectors.with_name(name).exists()), None
    )


def load_ids(vectors: Path, path: Path | None) -> list[str] | None:
    """Ids of a `.npy`, unique strings, from `path` or a file beside it; None when there is none."""
    place = path or find_ids(vectors)
    if place is None:
        return None
    text = place.read_text(encoding="utf-8")
    ids = json.loads(text) if place.suffix == ".json" else text.splitlines()
    if not isinstance(ids, list):
        raise SourceError(f"{place} must be a list of ids, got {type(ids).__name__}; write a list.")
    first: dict[str, int] = {}
    for row, each in enumerate(ids):
        if not isinstance(each, str) or not each:
            raise SourceError(
                f"Ids are non-empty strings, got {each!r} in row {row} of {place}; quote numbers."
            )
        if first.setdefault(each, row) != row:
            raise SourceError(
                f"Ids are unique, got {each!r} in rows {first[each]} and {row} of {place}; "
                "rename or remove one."
            )
    return ids
