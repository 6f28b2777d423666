"""Integers along a trellis: what `waterfill:ec` keeps in memory, made to be entropy-coded."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.layouts.waterfill import check_taps
from attar.stores.types import Codes, Field, Levels


@dataclass(frozen=True)
class TrellisIntegers(Layout):
    """Document c, dimension j: the level is an integer number of half steps.

    The first `wide` of `width` dimensions are `wide[c, j]`, int16, the others
    `narrow[c, j - wide]`, int8; `factor[c]`, float16, multiplies the sum. Which integers are
    possible follows from the later dimensions, see `attar.stores.kernels.trellis.uniform`; `taps`
    are those of its trellis. Bytes per vector: 2 + 2 wide + (width - wide), before entropy coding.
    """

    width: int
    wide: int
    taps: tuple[int, int]

    def __post_init__(self) -> None:
        if not 0 <= self.wide <= self.width or self.width < 1:
            raise ValueError(f"Of {self.width} columns, at least 1, {self.wide} cannot be wide.")
        check_taps(self.taps)

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`."""
        return self.width

    @property
    def fields(self) -> tuple[Field, ...]:
        """`factor`, and those of `wide` and `narrow` that have columns."""
        return (
            Field("factor", "float16", 1),
            *((Field("wide", "int16", self.wide),) if self.wide else ()),
            *((Field("narrow", "int8", self.width - self.wide),) if self.wide < self.width else ()),
        )

    def unpack(self, codes: Codes) -> Levels:
        """Widen the integers to float32."""
        parts = [np.asarray(codes.fields[f.name], np.float32) for f in self.fields[1:]]
        factor = np.asarray(codes.fields["factor"])[:, 0].astype(np.float32)
        return Levels(np.concatenate(parts, axis=1), factor)

    def describe(self) -> dict[str, Any]:
        """Name and parameters."""
        return {
            "layout": "trellis_integers",
            "width": self.width,
            "wide": self.wide,
            "taps": list(self.taps),
        }
