"""Sparse random projection."""

from dataclasses import dataclass
from typing import Any, ClassVar

from attar.retrieval.reducers.random_projection import RandomProjection


@dataclass(frozen=True)
class SparseProjection(RandomProjection):
    """`sparserp<N>`: one entry in sqrt(d) of R is not zero (Li, Hastie and Church, 2006)."""

    word: ClassVar[str] = "sparserp"
    form: ClassVar[str] = "sparserp<N>, sparserp<P>%"

    def _model(self, width: int, seed: int) -> Any:
        from sklearn.random_projection import SparseRandomProjection

        return SparseRandomProjection(width, random_state=seed)
