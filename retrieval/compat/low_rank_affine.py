"""A low-rank affine map."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import Adapter, as_pairs
from attar.retrieval.compat.linear import FittedLinear
from attar.retrieval.compat.ridge import Ridge
from attar.stores.types import Float32


@final
@dataclass(frozen=True)
class FittedLowRank(FittedLinear):
    """y = (x A) B."""

    kind: ClassVar[str] = "low-rank"

    @property
    def w(self) -> Float32:
        """A B."""
        return np.asarray(self.state["a"] @ self.state["b"])


@final
@dataclass(frozen=True)
class LowRankAffine(Adapter):
    """Reduced-rank regression (Izenman 1975), the low-rank affine form of Drift-Adapter.

    1. W by ridge.
    2. B = the leading `rank` right singular vectors of X W, A = W B^T: of all maps of this rank the
       one whose outputs are closest to ridge's.

    rank: at most the smaller dimension and the number of pairs.
    """

    rank: int = 64

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is at least 1, got {self.rank}.")

    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedLowRank:
        """Fit on pairs; nothing is drawn, `seed` is ignored."""
        pairs = as_pairs(source, target)
        w = Ridge().fit(source, target).state["w"]
        moved = pairs.x @ w
        _, vectors = np.linalg.eigh(moved.T @ moved)
        b = np.ascontiguousarray(vectors[:, ::-1][:, : min(self.rank, *w.shape)].T)
        a = np.asarray(w @ b.T, np.float32)
        return FittedLowRank({"a": a, "b": b.astype(np.float32), **pairs.means})
