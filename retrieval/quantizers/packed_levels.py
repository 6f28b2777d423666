"""What all quantizers with a fixed table of levels share: a packed code and a vector's factor."""

from abc import abstractmethod
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.quantizers.vector_factor import best_codes, nearest_levels, vector_factor
from attar.retrieval.quantizers.vector_scale import rms_unit
from attar.retrieval.reducer import State
from attar.stores.layouts.packed import Packed, level_table
from attar.stores.types import Codes, Float32, Query

GROUP_TOP = np.float32(16)
"""The scale of the largest group; smaller groups have down to 2^-9, the smallest float8_e4m3."""


@dataclass(frozen=True)
class FittedPacked(FittedQuantizer):
    """Nearest levels at the best step of each vector, then the factor <z, z> / <z, y>.

    unit: typical root mean square of a column. Bound, per vector without groups: the sine of the
    angle between z and its decoded vector is at most h sqrt(e) peak / |z|, where h is half the
    widest gap between levels over the largest level (1/15 for int4, 1/3 for int2, 1/2 for ternary).
    """

    layout: Packed
    unit: float

    def encode(self, z: Float32) -> Codes:
        """Choose codes, pack them, and note the factor."""
        table = level_table(self.layout.kind)
        if self.layout.group is None:
            code = best_codes(z, table)
            factor = vector_factor(z, table[code], self.unit)
            return Codes({"code": self.layout.pack(code), "factor": factor})
        group = self._group_scales(z)
        wide = self.layout.widen(group)
        small = np.where(wide > 0, wide, np.float32(1))
        peak = np.abs(z).max(axis=1, keepdims=True, initial=0.0)
        # One step per group: z over its group's scale, in units that put the row's peak on top.
        unit = np.maximum(peak / (GROUP_TOP * np.abs(table).max()), np.finfo(np.float32).tiny)
        code = nearest_levels(z / unit / small, table)
        factor = vector_factor(z, table[code] * wide, self.unit)
        return Codes({"code": self.layout.pack(code), "group": group, "factor": factor})

    def _group_scales(self, z: Float32) -> NDArray[np.uint8]:
        size = self.layout.group or 1
        padded = np.zeros((len(z), self.layout.groups * size), np.float32)
        padded[:, : z.shape[1]] = np.abs(z)
        peaks = padded.reshape(len(z), self.layout.groups, size).max(axis=2, initial=0.0)
        largest = peaks.max(axis=1, keepdims=True, initial=0.0)
        share = np.divide(peaks, largest, out=np.zeros_like(peaks), where=largest > 0)
        scales: NDArray[np.uint8] = (
            (share * GROUP_TOP).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        )
        return scales

    def decode(self, codes: Codes) -> Float32:
        """Levels times factor."""
        levels = self.layout.unpack(codes)
        return levels.y * (levels.factor * np.float32(self.unit))[:, None]

    def prepare(self, q: Float32) -> Query:
        """Fold the unit in."""
        return Query(q * np.float32(self.unit), np.zeros(len(q), np.float32))

    def state(self) -> State:
        """The unit."""
        return {"unit": np.array([self.unit])}


class PackedQuantizer(Quantizer):
    """A recipe over one table of levels; nothing is learned but the typical size."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name of the table, see `stores.layouts.packed`."""

    @property
    @abstractmethod
    def group(self) -> int | None:
        """Dimensions that share a scale, None for one factor per vector only."""

    def min_rows(self, width: int) -> int:
        """One: nothing is learned."""
        return 1

    @property
    def learns(self) -> bool:
        """Never."""
        return False

    def fit(self, z: Float32, context: FitContext) -> FittedPacked:
        """Note the width and the typical size of a column."""
        return FittedPacked(Packed(self.kind, z.shape[1], self.group), rms_unit(z))

    def restore(self, width: int, state: State) -> FittedPacked:
        """The same again."""
        return FittedPacked(Packed(self.kind, width, self.group), float(state["unit"][0]))
