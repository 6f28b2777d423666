"""Truncation: keep the first dimensions."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attar.retrieval.reducer import FittedReducer, State
from attar.retrieval.reducers.kept import KeepingReducer
from attar.stores.types import Float32, Query


@dataclass(frozen=True)
class FittedTruncate(FittedReducer):
    """z = x[:e], stretched to the norm of x; queries are cut only.

    Stretching is what comparing truncated vectors by cosine means, and what Matryoshka models are
    trained for. Measured on models that are not (MiniLM, mpnet; SciFact, SQuAD; d/2 and d/4) it
    keeps 1 to 5 points of overlap@10 more than a bare cut.
    """

    dim: int
    kept: int

    @property
    def width(self) -> int:
        """Dimensions kept."""
        return self.kept

    def transform(self, x: Float32) -> Float32:
        """Cut, then stretch; a document with nothing in the kept dimensions stays zero."""
        z = x[:, : self.kept]
        part = np.linalg.norm(z, axis=1, keepdims=True)
        whole = np.linalg.norm(x, axis=1, keepdims=True)
        stretch: Float32 = np.divide(whole, part, out=np.zeros_like(part), where=part > 0)
        return z * stretch

    def inverse(self, z: Float32) -> Float32:
        """Zeros where nothing was kept."""
        x = np.zeros((len(z), self.dim), np.float32)
        x[:, : self.kept] = z
        return x

    def prepare(self, q: Float32) -> Query:
        """Cut."""
        return Query(q[:, : self.kept], np.zeros(len(q), np.float32))

    def state(self) -> State:
        """Nothing is learned."""
        return {}


@dataclass(frozen=True)
class Truncate(KeepingReducer):
    """`truncate<N>`: Matryoshka representations (arXiv 2205.13147), `truncate_dim` elsewhere."""

    word: ClassVar[str] = "truncate"
    form: ClassVar[str] = "truncate<N>, truncate<P>%"

    def min_rows(self, dim: int) -> int:
        """One: nothing is learned."""
        return 1

    def fit(self, x: Float32, seed: int) -> FittedTruncate:
        """Note the dimension."""
        return self.restore(x.shape[1], {})

    def restore(self, dim: int, state: State) -> FittedTruncate:
        """The same again."""
        return FittedTruncate(dim, self.width(dim))
