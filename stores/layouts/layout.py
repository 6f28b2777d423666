"""The abstract layout: which bytes a document has, and how they give its levels."""

from abc import ABC, abstractmethod
from typing import Any

from attar.stores.types import Codes, Field, Levels


class Layout(ABC):
    """How codes lie in memory and on disk, and what they mean.

    A layout is frozen: dimensions, dtypes and level tables. Every layout is one file, one class,
    and states its bytes as a formula.

    Laws: `len(unpack(codes).y) == len(codes)`; `bytes_per_vector` is the sum over `fields`; slicing
    commutes with unpacking: `unpack(codes[a:b]).y == unpack(codes).y[a:b]`.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Columns e of the levels."""

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The arrays of the codes, in the order in which a segment stores them."""

    @abstractmethod
    def unpack(self, codes: Codes) -> Levels:
        """Codes of n documents to levels y float32 [n e] and factors float32 [n]."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name and parameters as plain JSON values, for `attar info` and for hashing."""

    @property
    def bytes_per_vector(self) -> int:
        """All bytes per document."""
        return sum(field.bytes_per_vector for field in self.fields)
