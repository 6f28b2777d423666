"""Ridge regression from one space to the other."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import Adapter, as_pairs
from attar.retrieval.compat.linear import FittedLinear
from attar.stores.types import Float32

GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@final
@dataclass(frozen=True)
class FittedRidge(FittedLinear):
    """y = x W."""

    kind: ClassVar[str] = "ridge"

    @property
    def w(self) -> Float32:
        """[d e], as it was fitted."""
        return self.state["w"]


@final
@dataclass(frozen=True)
class Ridge(Adapter):
    """W = (X^T X + a I)^-1 X^T Y (Hoerl and Kennard 1970), on centred unit vectors.

    strength: a in units of the mean eigenvalue of X^T X; None takes the one of `GRID` whose
    leave-one-out error is least, which the eigendecomposition gives for nothing (PRESS).
    """

    strength: float | None = None

    def __post_init__(self) -> None:
        if self.strength is not None and not self.strength > 0:
            raise ValueError(f"strength is above 0, got {self.strength}.")

    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedRidge:
        """Fit on pairs; nothing is drawn, `seed` is ignored."""
        pairs = as_pairs(source, target)
        values, basis = np.linalg.eigh(pairs.x.T @ pairs.x)
        values = np.maximum(values, 0)
        inner = basis.T @ (pairs.x.T @ pairs.y)
        z = pairs.x @ basis
        grid = GRID if self.strength is None else (self.strength,)
        unit = float(values.mean())
        errors = [_press(z, pairs.y, inner, values + s * unit) for s in grid]
        best = values + grid[int(np.argmin(errors))] * unit
        w = np.asarray(basis @ (inner / best[:, None]), np.float32)
        return FittedRidge({"w": w, **pairs.means})


def _press(z: Float32, y: Float32, inner: Float32, shrunk: Float32) -> float:
    """Squared leave-one-out error: residual / (1 - leverage)."""
    rest = y - z @ (inner / shrunk[:, None])
    leverage = np.minimum((z * z / shrunk).sum(axis=1), 0.999)
    return float(((rest / (1 - leverage)[:, None]) ** 2).sum())
