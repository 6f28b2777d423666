"""Floating-point types as quantizers: the reference paper's float8 and its neighbours."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import ml_dtypes
import numpy as np

from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.quantizers.vector_scale import rms_unit, scale_rows
from attar.retrieval.reducer import State
from attar.stores.layouts.floats import LOGICAL, Floats
from attar.stores.types import Codes, Float32, Query

ALWAYS_SCALED = frozenset({"float8_e3m4"})
"""Its range, 2^-6 … 15.5, is too narrow for raw embeddings."""


@dataclass(frozen=True)
class FittedFloat(FittedQuantizer):
    """Rounds to nearest even, saturating at the largest finite number of the type.

    unit: typical root-mean-square of a column; 1 for raw casts. Relative error of a normal number:
    at most 2^-(mantissa bits + 1).
    """

    layout: Floats
    unit: float = 1.0

    @property
    def largest(self) -> float:
        """The largest finite number of the type: 448 for float8_e4m3."""
        return float(ml_dtypes.finfo(LOGICAL[self.layout.dtype]).max)

    def encode(self, z: Float32) -> Codes:
        """Cast, after dividing by the vector's scale where there is one."""
        dtype = LOGICAL[self.layout.dtype]
        if not self.layout.scaled:
            clipped = z if dtype == np.float32 else np.clip(z, -self.largest, self.largest)
            return Codes({"code": self._raw(clipped.astype(dtype))})
        y, scale = scale_rows(z, self.unit, self.largest)
        code = np.clip(y, -self.largest, self.largest).astype(dtype)
        return Codes({"code": self._raw(code), "scale": scale})

    def _raw(self, code: np.ndarray) -> np.ndarray:
        return code.view(self.layout.fields[0].dtype)

    def decode(self, codes: Codes) -> Float32:
        """Widen and multiply the scale back."""
        levels = self.layout.unpack(codes)
        if not self.layout.scaled:
            return levels.y
        return levels.y * (levels.factor * np.float32(self.unit))[:, None]

    def prepare(self, q: Float32) -> Query:
        """Fold the unit in."""
        return Query(q * np.float32(self.unit), np.zeros(len(q), np.float32))

    def state(self) -> State:
        """The unit, where there is a scale."""
        return {"unit": np.array([self.unit])} if self.layout.scaled else {}


@dataclass(frozen=True)
class Float(Quantizer):
    """One floating-point number a dimension.

    `float8_e4m3` and `float8_e5m2` are raw casts, the reference paper's types (arXiv 2505.00105;
    e4m3 is ml_dtypes' float8_e4m3fn), saturating where that code would give NaN. `:scaled` adds one
    float16 scale a vector, so that its largest coordinate uses the whole range. `float8_e3m4` is
    always scaled.
    """

    dtype: str
    scaled: bool = False

    form: ClassVar[str] = (
        "float32, float16, bfloat16, float8_e4m3[:scaled], float8_e5m2[:scaled], float8_e3m4"
    )

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse the name of the type and its suffix."""
        match = re.fullmatch(r"(\w+?)(:scaled)?", part)
        if match is None or match[1] not in LOGICAL:
            return None
        if match[2] and not match[1].startswith("float8"):
            return None
        return cls(match[1], bool(match[2]) or match[1] in ALWAYS_SCALED)

    def __str__(self) -> str:
        return self.dtype + (":scaled" if self.scaled and self.dtype not in ALWAYS_SCALED else "")

    def min_rows(self, width: int) -> int:
        """One: nothing is learned."""
        return 1

    @property
    def learns(self) -> bool:
        """Never: a cast needs no data."""
        return False

    def fit(self, z: Float32, context: FitContext) -> FittedFloat:
        """Note the width and, for scaled types, the typical size of a column."""
        layout = Floats(self.dtype, z.shape[1], self.scaled)
        return FittedFloat(layout, rms_unit(z) if self.scaled else 1.0)

    def restore(self, width: int, state: State) -> FittedFloat:
        """The same again."""
        unit = float(state["unit"][0]) if self.scaled else 1.0
        return FittedFloat(Floats(self.dtype, width, self.scaled), unit)
