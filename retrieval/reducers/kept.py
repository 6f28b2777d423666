"""How many dimensions a reducer keeps: a number, or a percentage of those that it gets."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from attar.retrieval.reducer import Reducer
from attar.stores.types import Float32


@dataclass(frozen=True)
class KeepingReducer(Reducer):
    """A reducer with the spec word `<word><N>` or `<word><P>%`.

    amount: dimensions, or percent of d (then round(amount / 100 d) are kept) when `percent`.
    """

    amount: float
    percent: bool = False

    word: ClassVar[str]

    def __post_init__(self) -> None:
        if self.amount <= 0 or (self.percent and self.amount > 100):
            raise ValueError(
                f"A reducer keeps at least one dimension and at most 100 %, got {self}; "
                f"write {self.word}192 or {self.word}50%."
            )

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse the word, the amount and the percent sign."""
        match = re.fullmatch(cls.word + r"(?:(\d+)|(\d+(?:\.\d+)?)%)", part)
        if match is None:
            return None
        return cls(int(match[1])) if match[1] else cls(float(match[2]), True)

    def __str__(self) -> str:
        return f"{self.word}{self.amount:g}{'%' if self.percent else ''}"

    def width(self, dim: int) -> int:
        """Dimensions kept of d, between 1 and d."""
        kept = round(self.amount / 100 * dim) if self.percent else int(self.amount)
        if not 1 <= kept <= dim:
            raise ValueError(
                f"{self} must keep between 1 and d = {dim} dimensions, got {kept}; "
                f"write {self.word}{dim} or less."
            )
        return kept

    def check_rows(self, n: int, dim: int) -> None:
        """Raise ValueError when n documents of dimension d are too few."""
        if n < self.min_rows(dim):
            raise ValueError(
                f"{self} needs at least {self.min_rows(dim)} training vectors, got {n}; "
                f"add documents, or keep fewer dimensions ({self.word}{max(1, n // 2)})."
            )

    @abstractmethod
    def min_rows(self, dim: int) -> int:
        """Documents of dimension d that `fit` needs at least."""


def sampled(x: Float32, most: int, seed: int) -> Float32:
    """At most `most` rows of x [n d], drawn without replacement, in their order."""
    if len(x) <= most:
        return x
    rows = np.random.default_rng(seed).choice(len(x), most, replace=False)
    return x[np.sort(rows)]


def unit_rows(x: Float32) -> Float32:
    """Rows of x [n d] divided by their norms; a zero row stays zero."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    rows: Float32 = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    return rows
