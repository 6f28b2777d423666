"""Codes of fewer than eight bits a dimension, really packed, over a fixed table of levels."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from attar.stores.layouts.layout import Layout
from attar.stores.layouts.packing import (
    TRITS_PER_BYTE,
    pack_bits,
    pack_trits,
    packed_bytes,
    unpack_bits,
    unpack_trits,
)
from attar.stores.types import Codes, Field, Float32, Levels

BITS = {"int4": 4, "int2": 2, "float4_e2m1": 4, "float6_e2m3": 6, "float6_e3m2": 6}
"""Bits of a code; ternary codes are not here, five of them share a byte."""

MINIFLOATS = {
    "float4_e2m1": ml_dtypes.float4_e2m1fn,
    "float6_e2m3": ml_dtypes.float6_e2m3fn,
    "float6_e3m2": ml_dtypes.float6_e3m2fn,
}
"""The OCP microscaling element types."""

KINDS = (*BITS, "ternary")


@cache
def level_table(kind: str) -> Float32:
    """The level of every code, float32 [number of codes], read-only.

    int4, int2: 2^b equidistant levels about zero, -7.5 … 7.5 and -1.5 … 1.5, so that no code is
    wasted; ternary: -1, 0, 1; floats: code c is the number with that bit pattern.
    """
    levels: Float32
    if kind in MINIFLOATS:
        patterns = np.arange(2 ** BITS[kind], dtype=np.uint8)
        levels = patterns.view(MINIFLOATS[kind]).astype(np.float32)
    elif kind == "ternary":
        levels = np.array([-1, 0, 1], np.float32)
    else:
        half = np.float32(2 ** BITS[kind] - 1) / 2
        levels = (np.arange(2 ** BITS[kind]) - half).astype(np.float32)
    levels.flags.writeable = False
    return levels


@dataclass(frozen=True)
class Packed(Layout):
    """Document c, dimension j: `factor[c] * table[code[c, j]]`, codes packed as in `packing.py`.

    With a group of g dimensions, the level is also multiplied by `group[c, j // g]`, one
    float8_e4m3 for g neighbours. Bytes per vector: ceil(width bits / 8) (ternary: ceil(width / 5))
    + 2, + ceil(width / g) with groups.
    """

    kind: str
    width: int
    group: int | None = None

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`."""
        return self.width

    @property
    def groups(self) -> int:
        """Scales per vector besides the factor."""
        return 0 if self.group is None else -(-self.width // self.group)

    @property
    def fields(self) -> tuple[Field, ...]:
        """`code` uint8, `group` uint8 (float8_e4m3 bits) when grouped, `factor` float16."""
        size = (
            -(-self.width // TRITS_PER_BYTE)
            if self.kind == "ternary"
            else packed_bytes(self.width, BITS[self.kind])
        )
        groups = (Field("group", "uint8", self.groups),) if self.group else ()
        return (Field("code", "uint8", size), *groups, Field("factor", "float16", 1))

    def pack(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes uint8 [n width] to the bytes of the field `code`."""
        return pack_trits(codes) if self.kind == "ternary" else pack_bits(codes, BITS[self.kind])

    def codes_of(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Inverse of `pack`."""
        if self.kind == "ternary":
            return unpack_trits(packed, self.width)
        return unpack_bits(packed, BITS[self.kind], self.width)

    def unpack(self, codes: Codes) -> Levels:
        """Look the levels up; the factor is the vector's."""
        y = level_table(self.kind)[self.codes_of(codes.fields["code"].astype(np.uint8, copy=False))]
        if self.group:
            y = y * self.widen(codes.fields["group"].astype(np.uint8, copy=False))
        return Levels(y, codes.fields["factor"][:, 0].astype(np.float32))

    def widen(self, group: NDArray[np.uint8]) -> Float32:
        """Group scales uint8 [n groups] to float32 [n width], one a dimension."""
        scales = np.ascontiguousarray(group).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
        return np.repeat(scales, self.group or 1, axis=1)[:, : self.width]

    def describe(self) -> dict[str, Any]:
        """Name and parameters."""
        return {
            "layout": "packed",
            "kind": self.kind,
            "width": self.width,
            "group": self.group,
        }
