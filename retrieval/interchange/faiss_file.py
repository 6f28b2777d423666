"""Index files of faiss."""

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np

from attar.retrieval.interchange.collection import Collection, size_of
from attar.stores.transfer.rows import BATCH, Rows


def open_faiss(path: Path, ids: list[str] | None = None) -> Collection:
    """The vectors of a faiss index, reconstructed; an index that cannot give them is refused.

    ids: one per row. Without them an IndexIDMap gives its numbers, any other index its rows.
    """
    try:
        whole = faiss.read_index(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path} is no index that faiss reads: {str(error)[-200:]}") from error
    index, numbers = whole, np.arange(whole.ntotal)
    if isinstance(whole, faiss.IndexIDMap):
        numbers = faiss.vector_to_array(whole.id_map)
        index = faiss.downcast_index(whole.index)
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    names = [str(number) for number in numbers] if ids is None else list(ids)
    if len(names) != index.ntotal:
        raise ValueError(f"ids has one entry per row: {index.ntotal} rows, {len(names)} ids.")
    if not index.ntotal:
        raise ValueError(f"{path} is empty; there is nothing to read.")
    _rows(index, 0, 1, path)

    # A map owns the index inside it, which dies with it.
    kept = (whole, index)

    def read(start: int) -> Iterator[Rows]:
        index = kept[1]
        for low in range(start, index.ntotal, BATCH):
            some = names[low : low + BATCH]
            nothing = [None] * len(some)
            yield Rows(some, _rows(index, low, len(some), path), [*nothing], [*nothing])

    size = size_of(path)
    metric = "l2" if index.metric_type == faiss.METRIC_L2 else "ip"
    return Collection("faiss", path.name, metric, index.d, index.ntotal, size, size, read)


def _rows(index: faiss.Index, start: int, count: int, path: Path) -> np.ndarray:
    try:
        vectors: np.ndarray = index.reconstruct_n(start, count)
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds {type(index).__name__}, which does not give its vectors back. Export "
            "them from where the index was built, as .npy."
        ) from error
    return vectors
