"""Floating-point codes: one number a dimension, in a type that hardware or ml_dtypes defines."""

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Field, Levels

LOGICAL: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e3m4": np.dtype(ml_dtypes.float8_e3m4),
}
"""Our name -> the type that does the rounding. `float8_e4m3` is the finite-only OCP type."""

STORED = {"float32": "float32", "float16": "float16", "bfloat16": "uint16"}
"""The numpy type on disk; what is not named here is one uint8."""


@dataclass(frozen=True)
class Floats(Layout):
    """Document c, dimension j: `code[c, j]` is the number; with a scale, times `scale[c]`.

    Bytes per vector: width * itemsize(dtype) + (2 if scaled), e.g. 192 for 192 x float8_e4m3.
    """

    dtype: str
    width: int
    scaled: bool = False

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`."""
        return self.width

    @property
    def fields(self) -> tuple[Field, ...]:
        """`code`, and `scale` (float16) when scaled."""
        code = Field("code", STORED.get(self.dtype, "uint8"), self.width)
        return (code, Field("scale", "float16", 1)) if self.scaled else (code,)

    def unpack(self, codes: Codes) -> Levels:
        """Widen the numbers to float32; the factor is the scale, or one."""
        raw = np.ascontiguousarray(codes.fields["code"])
        y = raw.view(LOGICAL[self.dtype]).astype(np.float32)
        if self.scaled:
            return Levels(y, codes.fields["scale"][:, 0].astype(np.float32))
        return Levels(y, np.ones(len(y), np.float32))

    def describe(self) -> dict[str, Any]:
        """Name and parameters."""
        return {
            "layout": "floats",
            "dtype": self.dtype,
            "width": self.width,
            "scaled": self.scaled,
        }
