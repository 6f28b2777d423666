"""Seeded documents for the benchmarks of the store, made batch by batch and never all held."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WORDS = np.array(
    ["retrieval", "store", "vector", "commit", "reader", "writer", "page", "of", "the"]
)


def batch(first: int, n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Rows first … first + n of the collection: decaying spectrum, 200 clusters."""
    rng = np.random.default_rng([seed, first])
    centres = np.random.default_rng(seed).standard_normal((200, dim), dtype=np.float32)
    x = rng.standard_normal((n, dim), dtype=np.float32)
    x += 0.8 * centres[rng.integers(0, 200, n)]
    return x * np.arange(1, dim + 1, dtype=np.float32) ** -0.4


def texts(first: int, n: int, seed: int = 0) -> list[str]:
    """Texts of 40 words, about 240 bytes."""
    rng = np.random.default_rng([seed, first, 1])
    return [" ".join(row) for row in WORDS[rng.integers(0, len(WORDS), (n, 40))]]


def batches(
    n: int, size: int, dim: int
) -> Iterator[tuple[list[str], NDArray[np.float32], list[str]]]:
    """(ids, vectors, texts) in batches."""
    for first in range(0, n, size):
        count = min(size, n - first)
        ids = [f"doc-{i:09d}" for i in range(first, first + count)]
        yield ids, batch(first, count, dim), texts(first, count)
