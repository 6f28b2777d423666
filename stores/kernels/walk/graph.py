"""What is walked: links between rows, small codes to score them by, where to begin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOWHERE = 2**32 - 1
"""Behind the last link of a row."""

LINE = 64
"""Bytes of a cache line, of which a row of codes has a whole number."""


@dataclass(frozen=True)
class Graph:
    """codes uint8 [n g]; links uint32 [n r], NOWHERE behind the last; entries uint32 [s].

    Kernels follow links without looking whether they are rows, so the arrays are checked here.
    """

    codes: NDArray[np.uint8]
    links: NDArray[np.uint32]
    entries: NDArray[np.uint32]

    def __post_init__(self) -> None:
        n = len(self.codes)
        if n >= NOWHERE:
            raise ValueError(f"A graph has fewer than {NOWHERE} rows, got {n}.")
        if self.codes.ndim != 2 or self.codes.shape[1] % LINE or not self.codes.shape[1]:
            raise ValueError(f"Codes are [n g], g a multiple of {LINE}, got {self.codes.shape}.")
        if self.links.ndim != 2 or len(self.links) != n:
            raise ValueError(f"Links are [{n} r], got {list(self.links.shape)}.")
        if not len(self.entries) or int(self.entries.max()) >= n:
            raise ValueError(f"Entries are one or more rows below {n}.")
        if int(self.links[self.links != NOWHERE].max(initial=0)) >= n:
            raise ValueError(f"Links are rows below {n}, or {NOWHERE} behind the last.")

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.codes.nbytes + self.links.nbytes + self.entries.nbytes

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Pool:
    """How a walk's rows become k results.

    window: rows in the pool; looked: of them at most so many (the best by small codes) are refined;
    kept: of those so many (the best by integers over the whole code) get a canonical score.
    """

    window: int
    looked: int
    kept: int
    k: int
