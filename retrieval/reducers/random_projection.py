"""Random projections, by scikit-learn."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.retrieval.reducer import LinearMap, State
from attar.retrieval.reducers.kept import KeepingReducer
from attar.stores.types import Float32


@dataclass(frozen=True)
class RandomProjection(KeepingReducer):
    """z = x R with E[R R^T] = I, so that <q R, x R> estimates <q, x> without bias.

    Nothing is centred: `centre+gaussianrp192` makes the mean's part exact. R is stored.
    """

    def min_rows(self, dim: int) -> int:
        """One: nothing is learned."""
        return 1

    @abstractmethod
    def _model(self, width: int, seed: int) -> Any:
        """The scikit-learn transformer."""

    def fit(self, x: Float32, seed: int) -> LinearMap:
        """Draw R [d e]."""
        dim = x.shape[1]
        model = self._model(self.width(dim), seed).fit(np.zeros((1, dim), np.float32))
        components = model.components_
        dense = components if isinstance(components, np.ndarray) else components.toarray()
        return LinearMap(np.zeros(dim, np.float32), np.ascontiguousarray(dense.T, dtype=np.float32))

    def restore(self, dim: int, state: State) -> LinearMap:
        """R again."""
        return LinearMap(
            state["mean"].astype(np.float32, copy=False),
            state["basis"].astype(np.float32, copy=False),
        )
