"""Centring: subtract the mean of the documents."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from attar.retrieval.reducer import FittedReducer, Reducer, State
from attar.stores.types import Float32, Query


@dataclass(frozen=True)
class FittedCentre(FittedReducer):
    """z = x - mean; <q, mean> becomes the query's constant, so that scores stay the metric's.

    mean: float32 [d].
    """

    mean: Float32

    @property
    def width(self) -> int:
        """All dimensions."""
        return len(self.mean)

    def transform(self, x: Float32) -> Float32:
        """Subtract the mean."""
        return x - self.mean

    def inverse(self, z: Float32) -> Float32:
        """Add the mean."""
        return z + self.mean

    def prepare(self, q: Float32) -> Query:
        """Queries stay as they are."""
        return Query(q, q @ self.mean)

    def state(self) -> State:
        """The mean."""
        return {"mean": self.mean}


@dataclass(frozen=True)
class Centre(Reducer):
    """`centre`: what helps every quantizer that has no mean of its own, `centre+int2`."""

    form: ClassVar[str] = "centre"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `centre`."""
        return cls() if part == "centre" else None

    def __str__(self) -> str:
        return "centre"

    def width(self, dim: int) -> int:
        """All dimensions."""
        return dim

    def min_rows(self, dim: int) -> int:
        """One."""
        return 1

    def fit(self, x: Float32, seed: int) -> FittedCentre:
        """The mean, summed in float64."""
        return FittedCentre(x.mean(axis=0, dtype=np.float64).astype(np.float32))

    def restore(self, dim: int, state: State) -> FittedCentre:
        """The mean again."""
        return FittedCentre(state["mean"].astype(np.float32, copy=False))
