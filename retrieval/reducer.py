"""Reducers: floats to fewer floats. The abstract classes and their laws."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32, Query

State = dict[str, NDArray[np.generic]]


class FittedReducer(ABC):
    """A reducer that knows its data. Frozen.

    Laws: for a linear reducer, `prepare(q)` and `transform(x)` satisfy
    `<prepare(q).coords, transform(x)> + prepare(q).const ~ <q, x>`;
    `restore(recipe, dim, state())` transforms alike, bit for bit.
    """

    heavy: ClassVar[bool] = False
    """Whether its first use starts a library such as torch: not for a look at a file."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Dimensions e that come out."""

    @abstractmethod
    def transform(self, x: Float32) -> Float32:
        """Documents float32 [n d] to float32 [n e]."""

    @abstractmethod
    def inverse(self, z: Float32) -> Float32:
        """The document float32 [n d] that reduced documents float32 [n e] stand for."""

    @abstractmethod
    def prepare(self, q: Float32) -> Query:
        """Queries float32 [m d] to coordinates [m e] and a constant [m]. Queries stay uncentred."""

    @abstractmethod
    def state(self) -> State:
        """Everything that was learned, as arrays."""


class Reducer(ABC):
    """A frozen recipe. One file, one class, one spec word.

    Law: `from_spec(str(reducer)) == reducer`.
    """

    form: ClassVar[str]
    """How people type it, for error messages: `pca<N>`."""

    @classmethod
    @abstractmethod
    def from_spec(cls, part: str) -> Self | None:
        """Return the recipe that `part` spells, None if it is another method's word."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the canonical spelling."""

    @abstractmethod
    def width(self, dim: int) -> int:
        """Dimensions e that come out of d; an upper limit where the data decide."""

    @abstractmethod
    def min_rows(self, dim: int) -> int:
        """Documents of dimension d that `fit` needs at least."""

    @abstractmethod
    def fit(self, x: Float32, seed: int) -> FittedReducer:
        """Fit on documents float32 [n d]."""

    @abstractmethod
    def restore(self, dim: int, state: State) -> FittedReducer:
        """The fitted reducer that `state` was taken from."""


@dataclass(frozen=True)
class LinearMap(FittedReducer):
    """z = (x - mean) basis, with orthonormal columns. What every linear reducer becomes.

    mean float32 [d]; basis float32 [d e]. Queries are not centred: <q, x> = <q basis, z> +
    <q, mean> up to what the basis leaves out, so that the constant depends on the query only (a
    centred query would be another ranker: measured 8-9 % nDCG lower on one collection).
    """

    mean: Float32
    basis: Float32

    @property
    def width(self) -> int:
        """Dimensions e that come out."""
        return int(self.basis.shape[1])

    def transform(self, x: Float32) -> Float32:
        """Centre and rotate."""
        z: Float32 = np.matmul(x - self.mean, self.basis)
        return z

    def inverse(self, z: Float32) -> Float32:
        """Rotate back and add the mean."""
        return z @ self.basis.T + self.mean

    def prepare(self, q: Float32) -> Query:
        """Rotate only; the mean becomes the constant."""
        return Query(q @ self.basis, q @ self.mean)

    def state(self) -> State:
        """Mean and basis."""
        return {"mean": self.mean, "basis": self.basis}
