"""waterfill for archives: one step for all dimensions, the entropy coder pays for the range."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.levels import TAPS
from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.quantizers.waterfill import Waterfill
from attar.retrieval.rate_model import PRICE, bits_per_vector, half_step_for_bits
from attar.retrieval.reducer import State
from attar.retrieval.vector_factor import least_squares_factor, power_of_four_norms
from attar.retrieval.weighted_transform import weighted_transform
from attar.stores.kernels.trellis import gaussian_rates, quantise_uniform
from attar.stores.layouts.trellis_integers import TrellisIntegers
from attar.stores.types import Codes, Float32, Query

ROWS = 4096
NARROW = 127
WIDE = 32767
REACH = 7
"""Deviations that must fit int8, else a dimension is stored as int16."""


@dataclass(frozen=True)
class FittedWaterfillEC(FittedQuantizer):
    """x^ = mean + f * half_step * sum_j k_j B_j, with integers k along a trellis.

    mean float32 [d]; analysis A and synthesis B float16 [d e]; deviation float32 [e] of each
    coordinate of (x - mean) A, from which the search knows how many bits an integer will cost.
    Factors are multiples of 1/256, which costs nothing and makes them cheap to code.
    """

    layout: TrellisIntegers
    mean: Float32
    analysis: NDArray[np.float16]
    synthesis: NDArray[np.float16]
    deviation: Float32
    half_step: float

    @property
    def expected_bytes(self) -> float:
        """Bytes a vector in an archive, tables not counted."""
        return bits_per_vector(self.deviation.astype(np.float64), self.half_step) / 8

    def encode(self, z: Float32) -> Codes:
        """Rotate, and find the integers that cost least in error and bits together."""
        fields: dict[str, list[NDArray[np.generic]]] = {f.name: [] for f in self.layout.fields}
        analysis = self.analysis.astype(np.float32)
        rate = gaussian_rates(self.deviation.astype(np.float64) / self.half_step)
        for start in range(0, max(len(z), 1), ROWS):
            coords: Float32 = np.matmul(z[start : start + ROWS] - self.mean, analysis)
            for name, array in self._encode_coords(coords, rate, start).items():
                fields[name].append(array)
        return Codes({name: np.concatenate(arrays) for name, arrays in fields.items()})

    def _encode_coords(
        self, coords: Float32, rate: Float32, start: int
    ) -> dict[str, NDArray[np.generic]]:
        typical = float(np.linalg.norm(self.deviation))
        gain = power_of_four_norms(coords, typical)[:, None]
        wide = self.layout.wide
        limit = np.where(np.arange(self.layout.width) < wide, WIDE, NARROW).astype(np.float32)
        unit = np.nan_to_num(coords / (gain * np.float32(self.half_step)))
        k = quantise_uniform(unit, limit, rate, PRICE, self.layout.taps)
        levels = k.astype(np.float32) * np.float32(self.half_step)
        factor = least_squares_factor(coords, levels, typical, start)
        fields: dict[str, NDArray[np.generic]] = {"factor": _rounded(factor)}
        if wide:
            fields["wide"] = k[:, :wide]
        if wide < self.layout.width:
            fields["narrow"] = k[:, wide:].astype(np.int8)
        return fields

    def decode(self, codes: Codes) -> Float32:
        """Integers, scaled and rotated back."""
        levels = self.layout.unpack(codes)
        y = levels.y * (levels.factor[:, None] * np.float32(self.half_step))
        return np.asarray(y @ self.synthesis.astype(np.float32).T + self.mean)

    def prepare(self, q: Float32) -> Query:
        """Rotate by B and fold the step in; the mean becomes the constant."""
        return Query(
            (q @ self.synthesis.astype(np.float32)) * np.float32(self.half_step), q @ self.mean
        )

    def state(self) -> State:
        """Everything that was learned."""
        return {
            "mean": self.mean,
            "analysis": self.analysis,
            "synthesis": self.synthesis,
            "deviation": self.deviation,
            "half_step": np.array([self.half_step]),
            "wide": np.array([self.layout.wide], np.int64),
            "taps": np.array(self.layout.taps, np.int64),
        }


@dataclass(frozen=True)
class WaterfillEC(Quantizer):
    """The same basis as `waterfill`, one step for all dimensions, made to be packed.

    `size` is what an archive takes a vector, as `rate_model` expects it; a live store takes one or
    two bytes a dimension, so that every search kernel for integers can read it. Dimensions whose
    deviation is below half of the half step would always be zero and are left out.
    """

    size: Waterfill = Waterfill()

    form: ClassVar[str] = "waterfill:ec[@<N>x|@<N>bpd|@<N>B]"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `waterfill:ec` and its sizes."""
        match = re.fullmatch(r"waterfill:ec(@.*)?", part)
        size = Waterfill.from_spec(f"waterfill{match[1] or ''}") if match else None
        return cls(size) if size else None

    def __str__(self) -> str:
        return str(self.size).replace("waterfill", "waterfill:ec")

    def min_rows(self, width: int) -> int:
        """As for `waterfill`."""
        return self.size.min_rows(width)

    @property
    def learns(self) -> bool:
        """Basis, deviations and the step are learned."""
        return True

    def fit(self, z: Float32, context: FitContext) -> FittedWaterfillEC:
        """Fit on reduced documents float32 [n e]; `context.queries` decide what matters."""
        bits = 8 * self.size.bytes_per_vector(context.dim)
        if not 0 < bits <= 12 * z.shape[1]:
            raise ValueError(
                f"{self} must give {z.shape[1]} dimensions 1 to {12 * z.shape[1] // 8} bytes, "
                f"got {bits // 8}; change the size after '@'."
            )
        transform = weighted_transform(z, context.queries)
        deviation = np.sqrt(transform.variance)
        half_step = half_step_for_bits(deviation, bits)
        kept = max(int(np.sum(deviation > half_step / 2)), 1)
        layout = TrellisIntegers(
            kept, int(np.sum(REACH * deviation[:kept] > NARROW * half_step)), TAPS
        )
        return FittedWaterfillEC(
            layout,
            transform.mean.astype(np.float32),
            transform.analysis[:, :kept].astype(np.float16),
            transform.synthesis[:, :kept].astype(np.float16),
            deviation[:kept].astype(np.float32),
            half_step,
        )

    def restore(self, width: int, state: State) -> FittedWaterfillEC:
        """The same again."""
        high, low = (int(tap) for tap in state["taps"])
        deviation = state["deviation"].astype(np.float32, copy=False)
        return FittedWaterfillEC(
            TrellisIntegers(len(deviation), int(state["wide"][0]), (high, low)),
            state["mean"].astype(np.float32, copy=False),
            state["analysis"].astype(np.float16, copy=False),
            state["synthesis"].astype(np.float16, copy=False),
            deviation,
            float(state["half_step"][0]),
        )


def _rounded(factor: NDArray[np.float16]) -> NDArray[np.float16]:
    """The nearest multiple of 1/256, where that is coarser than float16 itself."""
    with np.errstate(over="ignore"):
        rounded = np.rint(factor.astype(np.float32) * 256) / 256
    small = np.abs(factor) < 0.25
    return np.where(small, factor, rounded.astype(np.float16))
