"""Quantizers: floats to packed bytes. The abstract classes and their laws."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from attar.retrieval.reducer import State
from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Float32, Query


@dataclass(frozen=True)
class FitContext:
    """What a quantizer may want to know beyond its own columns.

    dim: the dimension d given to the codec, to which bit budgets refer; queries: sample queries in
    the reduced space, float32 [m e], or None; seed: of every random draw.
    """

    dim: int
    queries: Float32 | None = None
    seed: int = 0


class FittedQuantizer(ABC):
    """A quantizer that knows its data. Frozen.

    Laws: `decode(encode(z))` is within the stated bound of z; with levels y and factor f of
    `layout.unpack(encode(z))`, `prepare(q)` satisfies
    `f * <prepare(q).coords, y> + prepare(q).const = <q, decode(encode(z))>` up to rounding.
    """

    layout: Layout
    """Which bytes a document has and what they mean."""

    @abstractmethod
    def encode(self, z: Float32) -> Codes:
        """Documents float32 [n e] to codes; z is not changed."""

    @abstractmethod
    def decode(self, codes: Codes) -> Float32:
        """Codes to float32 [n e]."""

    @abstractmethod
    def prepare(self, q: Float32) -> Query:
        """Queries float32 [m e], with everything per dimension folded in."""

    @abstractmethod
    def state(self) -> State:
        """Everything that was learned, as arrays."""


class Quantizer(ABC):
    """A frozen recipe. One file, one class.

    Law: `from_spec(str(quantizer)) == quantizer`.
    """

    form: ClassVar[str]
    """How people type it, for error messages."""

    @classmethod
    @abstractmethod
    def from_spec(cls, part: str) -> Self | None:
        """Return the recipe that `part` spells, None if it is another method's word."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the canonical spelling."""

    @abstractmethod
    def min_rows(self, width: int) -> int:
        """Documents of e columns that `fit` needs at least; 1 when nothing is learned."""

    @property
    @abstractmethod
    def learns(self) -> bool:
        """Whether `fit` learns anything beyond the number of columns and their overall scale."""

    @abstractmethod
    def fit(self, z: Float32, context: FitContext) -> FittedQuantizer:
        """Fit on reduced documents float32 [n e]."""

    @abstractmethod
    def restore(self, width: int, state: State) -> FittedQuantizer:
        """The fitted quantizer that `state` was taken from."""
