"""Ternary codes: minus one, zero, one."""

from dataclasses import dataclass
from typing import ClassVar, Self

from attar.retrieval.quantizers.packed_levels import PackedQuantizer


@dataclass(frozen=True)
class Ternary(PackedQuantizer):
    """`ternary`: 1.6 bits a dimension, five in a byte (Ternary Weight Networks, arXiv 1605.04711).

    The threshold is searched per vector instead of taken as 0.7 E|z| (equation 6 there), and the
    factor is <z, z> / <z, y> instead of the mean of what exceeds it.
    """

    form: ClassVar[str] = "ternary"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `ternary`."""
        return cls() if part == "ternary" else None

    def __str__(self) -> str:
        return "ternary"

    @property
    def kind(self) -> str:
        """The table has the name of the spec word."""
        return "ternary"

    @property
    def group(self) -> None:
        """One factor per vector only."""
        return None
