"""Gaussian random projection."""

from dataclasses import dataclass
from typing import Any, ClassVar

from attar.retrieval.reducers.random_projection import RandomProjection


@dataclass(frozen=True)
class GaussianProjection(RandomProjection):
    """`gaussianrp<N>`: entries of R are normal with variance 1/e (Johnson and Lindenstrauss)."""

    word: ClassVar[str] = "gaussianrp"
    form: ClassVar[str] = "gaussianrp<N>, gaussianrp<P>%"

    def _model(self, width: int, seed: int) -> Any:
        from sklearn.random_projection import GaussianRandomProjection

        return GaussianRandomProjection(width, random_state=seed)
