"""One bit a dimension."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.layouts.packing import packed_bytes, unpack_bits
from attar.stores.types import Codes, Field, Levels


@dataclass(frozen=True)
class Signs(Layout):
    """Document c, dimension j: +1 when bit j of the little-endian bit stream is set, else -1.

    With a scale, times `factor[c]`. Bytes per vector: ceil(width / 8) + (2 if scaled).
    """

    width: int
    scaled: bool

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`."""
        return self.width

    @property
    def fields(self) -> tuple[Field, ...]:
        """`code` uint8, and `factor` (float16) when scaled."""
        code = Field("code", "uint8", packed_bytes(self.width, 1))
        return (code, Field("factor", "float16", 1)) if self.scaled else (code,)

    def unpack(self, codes: Codes) -> Levels:
        """Bits to +-1; the factor is the vector's, or one."""
        bits = unpack_bits(codes.fields["code"].astype(np.uint8, copy=False), 1, self.width)
        y = bits.astype(np.float32) * 2 - 1
        if self.scaled:
            return Levels(y, codes.fields["factor"][:, 0].astype(np.float32))
        return Levels(y, np.ones(len(y), np.float32))

    def describe(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"layout": "signs", "width": self.width, "scaled": self.scaled}
