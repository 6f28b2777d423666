"""Eight-bit integers, dequantised as they should be."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.quantizers.vector_scale import rms_unit, scale_rows
from attar.retrieval.reducer import State
from attar.stores.layouts.integers import Integers
from attar.stores.types import Codes, Float32, Query


@dataclass(frozen=True)
class FittedInt8(FittedQuantizer):
    """Signed codes -127 … 127 and one scale a vector; error at most half a step, peak / 254."""

    layout: Integers
    unit: float

    def encode(self, z: Float32) -> Codes:
        """Divide by the scale and round to nearest even."""
        y, scale = scale_rows(z, self.unit, 127.0)
        return Codes({"code": np.clip(np.rint(y), -127, 127).astype(np.int8), "scale": scale})

    def decode(self, codes: Codes) -> Float32:
        """Multiply the scale back."""
        levels = self.layout.unpack(codes)
        return levels.y * (levels.factor * np.float32(self.unit))[:, None]

    def prepare(self, q: Float32) -> Query:
        """Fold the unit in."""
        return Query(q * np.float32(self.unit), np.zeros(len(q), np.float32))

    def state(self) -> State:
        """The unit."""
        return {"unit": np.array([self.unit])}


@dataclass(frozen=True)
class FittedInt8MinMax(FittedQuantizer):
    """Unsigned codes 0 … 255 between the smallest and largest value that `fit` saw.

    low, step: float32 [e]; z ~ low + step * code; values outside saturate. Both are folded into the
    query, <q, z> ~ <q * step, code> + <q, low>: what the reference code and sentence-transformers'
    first stage leave out when they compare undequantised codes.
    """

    layout: Integers
    low: Float32
    step: Float32

    def encode(self, z: Float32) -> Codes:
        """Round to the nearest level; a constant dimension has the code 0."""
        step = np.where(self.step > 0, self.step, np.float32(1))
        code = np.clip(np.rint((z - self.low) / step), 0, 255)
        return Codes({"code": code.astype(np.uint8)})

    def decode(self, codes: Codes) -> Float32:
        """Levels back to floats."""
        return self.layout.unpack(codes).y * self.step + self.low

    def prepare(self, q: Float32) -> Query:
        """Fold step and offset of each dimension in."""
        return Query(q * self.step, q @ self.low)

    def state(self) -> State:
        """Offsets and steps."""
        return {"low": self.low, "step": self.step}


@dataclass(frozen=True)
class Int8(Quantizer):
    """`int8`: one scale a vector, nothing learned; `int8:minmax`: a learned range per dimension."""

    minmax: bool = False

    form: ClassVar[str] = "int8, int8:minmax"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `int8` or `int8:minmax`."""
        return cls(part == "int8:minmax") if part in ("int8", "int8:minmax") else None

    def __str__(self) -> str:
        return "int8:minmax" if self.minmax else "int8"

    def min_rows(self, width: int) -> int:
        """Two for ranges, else one."""
        return 2 if self.minmax else 1

    @property
    def learns(self) -> bool:
        """Ranges are learned, a scale per vector is not."""
        return self.minmax

    def fit(self, z: Float32, context: FitContext) -> FittedQuantizer:
        """Range per dimension, or just the typical size of a column."""
        if not self.minmax:
            return FittedInt8(Integers(z.shape[1], scaled=True), rms_unit(z))
        low = z.min(axis=0)
        return FittedInt8MinMax(
            Integers(z.shape[1], scaled=False), low, (z.max(axis=0) - low) / np.float32(255)
        )

    def restore(self, width: int, state: State) -> FittedQuantizer:
        """The same again."""
        if self.minmax:
            low, step = (state[name].astype(np.float32, copy=False) for name in ("low", "step"))
            return FittedInt8MinMax(Integers(width, scaled=False), low, step)
        return FittedInt8(Integers(width, scaled=True), float(state["unit"][0]))
