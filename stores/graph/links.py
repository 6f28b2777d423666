"""Links between rows of bytes, by the HNSW of faiss (Malkov and Yashunin, arXiv 1603.09320).

Its ground layer is what is walked. The higher layers serve to find a place to begin; the nodes of
one of them, scored all at once, serve as well.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import thread_count
from attar.stores.kernels.walk import Graph

CARE = 100
"""Candidates for the links of a new row (efConstruction)."""

BLOCK = 10_000
LEAST_ENTRIES = 128


def linked(codes: NDArray[np.uint8], links: int, seed: int = 0, threads: int | None = 1) -> Graph:
    """Link rows of codes [n g], n > 0, each to at most `links` (even) others.

    With one thread the same rows give the same links.
    """
    faiss: Any = import_module("faiss")  # its stubs leave out what HNSW is made of

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(thread_count(threads))
    try:
        kind = faiss.ScalarQuantizer.QT_8bit_direct
        index = faiss.IndexHNSWSQ(codes.shape[1], kind, links // 2)
        index.hnsw.efConstruction = CARE
        index.hnsw.rng = faiss.RandomGenerator(12345 + seed)
        index.train(np.zeros((1, codes.shape[1]), np.float32))
        for first in range(0, len(codes), BLOCK):
            index.add(codes[first : first + BLOCK].astype(np.float32))
    finally:
        faiss.omp_set_num_threads(before)
    offsets = faiss.vector_to_array(index.hnsw.offsets)[:-1].astype(np.int64)
    neighbors = faiss.vector_to_array(index.hnsw.neighbors)
    ground = neighbors[offsets[:, None] + np.arange(links)].astype(np.uint32)
    return Graph(codes, ground, _entries(faiss.vector_to_array(index.hnsw.levels)))


def _entries(layers: NDArray[np.int32]) -> NDArray[np.uint32]:
    """The nodes of the highest layer that has enough of them; layers count from one."""
    wanted = min(LEAST_ENTRIES, len(layers))
    top = next(t for t in range(int(layers.max()), 0, -1) if (layers >= t).sum() >= wanted)
    return np.flatnonzero(layers >= top).astype(np.uint32)
