"""Two models, one ranking: how the scores of an old and a new model are made comparable."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

CANDIDATES = 50


@dataclass(frozen=True)
class Scale:
    """old score * gain + shift has the mean and spread of new scores on the same candidates."""

    gain: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, old: Float32, new: Float32) -> "Scale":
        """From scores [c] of the same pairs (query, candidate) by both models."""
        spread = float(old.std())
        if len(old) < 2 or not spread > 0:
            return cls(1.0, float(new.mean() - old.mean()) if len(old) else 0.0)
        gain = float(new.std()) / spread
        return cls(gain, float(new.mean()) - gain * float(old.mean()))

    def apply(self, old: Float32) -> Float32:
        """Old scores on the scale of new ones."""
        return np.asarray(self.gain * old + self.shift, np.float32)


@dataclass(frozen=True)
class Rescoring:
    """The old store's `candidates` best, ranked again where the new model's vectors are there.

    weight: share of the new model's score. Both scores are known for a candidate that is embedded,
    because the old code is kept until the upgrade is committed; the mean of both ranks better than
    either (docs/upgrade.md), and with it a candidate that is not embedded yet competes on equal
    terms. weight 1 ranks by the new model alone.
    """

    candidates: int = CANDIDATES
    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.candidates < 1 or not 0 < self.weight <= 1:
            raise ValueError(
                f"candidates >= 1 and 0 < weight <= 1, got {self.candidates} and {self.weight}."
            )

    def fused(self, old: Float32, new: Float32, scale: Scale) -> Float32:
        """Scores by which to rank: old [..] and new [..], new NaN where it is not known yet."""
        moved = scale.apply(old)
        both = self.weight * new + (1 - self.weight) * moved
        return np.asarray(np.where(np.isnan(new), moved, both), np.float32)

    def rank(
        self, rows: NDArray[np.int64], old: Float32, new: Float32, scale: Scale
    ) -> NDArray[np.int64]:
        """Candidates rows [m c] in their new order, best first."""
        order = np.argsort(-self.fused(old, new, scale), axis=1, kind="stable")
        return np.take_along_axis(rows, order, axis=1)
