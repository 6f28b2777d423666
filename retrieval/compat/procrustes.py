"""Orthogonal Procrustes: the rotation that brings one space closest to the other."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import Adapter, as_pairs
from attar.retrieval.compat.linear import FittedLinear
from attar.stores.types import Float32


@final
@dataclass(frozen=True)
class FittedProcrustes(FittedLinear):
    """y = x W with orthonormal rows or columns, times one scale."""

    kind: ClassVar[str] = "procrustes"

    @property
    def w(self) -> Float32:
        """[d e], as it was fitted."""
        return self.state["w"]


@final
@dataclass(frozen=True)
class Procrustes(Adapter):
    """W = s U V^T for X^T Y = U S V^T (Schoenemann 1966); Drift-Adapter's first (2509.23471).

    1. The thin SVD serves different dimensions too: W is then semi-orthogonal.
    2. s = tr(S) / |X W|^2 is the best scale; it matters because the mean is added back.
    """

    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedProcrustes:
        """Fit on pairs; nothing is drawn, `seed` is ignored."""
        pairs = as_pairs(source, target)
        u, s, vt = np.linalg.svd(pairs.x.T @ pairs.y, full_matrices=False)
        w = u @ vt
        moved = float(((pairs.x @ w) ** 2).sum())
        scale = float(s.sum()) / moved if moved else 1.0
        return FittedProcrustes({"w": np.asarray(scale * w, np.float32), **pairs.means})
