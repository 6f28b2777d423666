"""Six- and four-bit floating-point types (OCP microscaling element types), scaled and packed."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from attar.retrieval.quantizers.packed_levels import PackedQuantizer
from attar.stores.layouts.packed import MINIFLOATS


@dataclass(frozen=True)
class SmallFloat(PackedQuantizer):
    """`float6_e2m3`, `float6_e3m2`, `float4_e2m1`: always with one float16 factor a vector.

    A raw cast, the reference paper's, gives zeros: the smallest e2m1 number is 0.5, coordinates of
    a unit vector are about 0.05. `:g32` adds one float8_e4m3 scale for 32 neighbours, the recipe of
    NVFP4 (arXiv 2509.25149) with a free group size.
    """

    dtype: str
    group_size: int | None = None

    form: ClassVar[str] = "float6_e2m3[:g<N>], float6_e3m2[:g<N>], float4_e2m1[:g<N>]"

    def __post_init__(self) -> None:
        if self.group_size is not None and self.group_size < 2:
            raise ValueError(
                f"A group has at least two dimensions, got {self.group_size}; write g32 or g16."
            )

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse the name of the type and the size of a group."""
        match = re.fullmatch(r"(\w+?)(?::g(\d+))?", part)
        if match is None or match[1] not in MINIFLOATS:
            return None
        return cls(match[1], int(match[2]) if match[2] else None)

    def __str__(self) -> str:
        return self.dtype + (f":g{self.group_size}" if self.group_size else "")

    @property
    def kind(self) -> str:
        """The table has the name of the type."""
        return self.dtype

    @property
    def group(self) -> int | None:
        """Dimensions that share a scale."""
        return self.group_size
