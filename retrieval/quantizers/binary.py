"""One bit a dimension: plus or minus one about the mean."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.quantizers.vector_factor import vector_factor
from attar.retrieval.quantizers.vector_scale import rms_unit
from attar.retrieval.reducer import State
from attar.stores.layouts.packing import pack_bits
from attar.stores.layouts.signs import Signs
from attar.stores.types import Codes, Float32, Query


@dataclass(frozen=True)
class FittedBinary(FittedQuantizer):
    """z ~ mean + unit * factor * sign(z - mean); the factor is one unless the code is scaled.

    mean: float32 [e]. unit: mean magnitude of z - mean; with a factor, a power of two near their
    root mean square.
    """

    layout: Signs
    mean: Float32
    unit: float

    def encode(self, z: Float32) -> Codes:
        """Signs about the mean; zero counts as positive."""
        centred = z - self.mean
        bits = (centred >= 0).astype(np.uint8)
        code = pack_bits(bits, 1)
        if not self.layout.scaled:
            return Codes({"code": code})
        y = bits.astype(np.float32) * 2 - 1
        return Codes({"code": code, "factor": vector_factor(centred, y, self.unit)})

    def decode(self, codes: Codes) -> Float32:
        """Signs times size, about the mean."""
        levels = self.layout.unpack(codes)
        return levels.y * (levels.factor * np.float32(self.unit))[:, None] + self.mean

    def prepare(self, q: Float32) -> Query:
        """Fold the unit in; the mean becomes the constant."""
        return Query(q * np.float32(self.unit), q @ self.mean)

    def state(self) -> State:
        """Mean and unit."""
        return {"mean": self.mean, "unit": np.array([self.unit])}


@dataclass(frozen=True)
class Binary(Quantizer):
    """`binary`: signs about the mean, queries stay float; `binary:scaled`: with a vector's factor.

    The reference code compares (x > 0) as 0/1 vectors by cosine, on both sides and about zero.
    """

    scaled: bool = False

    form: ClassVar[str] = "binary[:scaled]"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `binary` or `binary:scaled`."""
        return cls(part != "binary") if part in ("binary", "binary:scaled") else None

    def __str__(self) -> str:
        return "binary:scaled" if self.scaled else "binary"

    def min_rows(self, width: int) -> int:
        """One; the mean of one document makes every code of it the same, so pass a few."""
        return 1

    @property
    def learns(self) -> bool:
        """The mean."""
        return True

    def fit(self, z: Float32, context: FitContext) -> FittedBinary:
        """Mean and typical magnitude."""
        mean = z.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = z - mean
        size = rms_unit(centred) if self.scaled else float(np.abs(centred).mean(dtype=np.float64))
        return FittedBinary(Signs(z.shape[1], self.scaled), mean, size)

    def restore(self, width: int, state: State) -> FittedBinary:
        """The same again."""
        mean = state["mean"].astype(np.float32, copy=False)
        return FittedBinary(Signs(width, self.scaled), mean, float(state["unit"][0]))
