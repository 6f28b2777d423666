"""Eight-bit integer codes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Field, Levels


@dataclass(frozen=True)
class Integers(Layout):
    """Document c, dimension j: the level is the integer `code[c, j]`.

    With a scale (signed codes, one float16 a vector) the factor is `scale[c]`; without one
    (unsigned codes) step and offset of each dimension are folded into the prepared query.
    Bytes per vector: width + (2 if scaled).
    """

    width: int
    scaled: bool

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`."""
        return self.width

    @property
    def fields(self) -> tuple[Field, ...]:
        """`code` int8 and `scale` float16 when scaled, else `code` uint8."""
        if self.scaled:
            return (Field("code", "int8", self.width), Field("scale", "float16", 1))
        return (Field("code", "uint8", self.width),)

    def unpack(self, codes: Codes) -> Levels:
        """Widen the integers to float32; the factor is the scale, or one."""
        y = codes.fields["code"].astype(np.float32)
        if self.scaled:
            return Levels(y, codes.fields["scale"][:, 0].astype(np.float32))
        return Levels(y, np.ones(len(y), np.float32))

    def describe(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"layout": "integers", "width": self.width, "scaled": self.scaled}
