"""Random rotation: the same vectors in axes that mean nothing."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from attar.retrieval.quantizers.faiss_index import random_rotation
from attar.retrieval.reducer import LinearMap, Reducer, State
from attar.stores.types import Float32


@dataclass(frozen=True)
class Rotate(Reducer):
    """`rotate`: an orthogonal matrix, drawn by faiss from the seed.

    Spreads outlier dimensions before a quantizer with one scale per vector. The matrix is stored,
    since no library promises the same draw for ever.
    """

    form: ClassVar[str] = "rotate"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `rotate`."""
        return cls() if part == "rotate" else None

    def __str__(self) -> str:
        return "rotate"

    def width(self, dim: int) -> int:
        """All dimensions."""
        return dim

    def min_rows(self, dim: int) -> int:
        """One: nothing is learned."""
        return 1

    def fit(self, x: Float32, seed: int) -> LinearMap:
        """Draw the matrix [d d]."""
        dim = x.shape[1]
        return LinearMap(np.zeros(dim, np.float32), random_rotation(dim, seed))

    def restore(self, dim: int, state: State) -> LinearMap:
        """The matrix again."""
        return LinearMap(
            state["mean"].astype(np.float32, copy=False),
            state["basis"].astype(np.float32, copy=False),
        )
