"""A map of a few kilobytes: a sum of Kronecker products."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import Adapter, FittedAdapter, as_pairs
from attar.retrieval.compat.procrustes import Procrustes
from attar.stores.types import Float32


@final
@dataclass(frozen=True)
class FittedKronecker(FittedAdapter):
    """y = sum_i (A_i kron B_i)^T x in float16 parameters; A [r p q], B [r a b]."""

    kind: ClassVar[str] = "kronecker"

    def map(self, x: Float32) -> Float32:
        """[n pa] -> [n qb]: with x as a matrix [p a], y = sum_i A_i^T x B_i."""
        a = self.state["a"].astype(np.float32)
        b = self.state["b"].astype(np.float32)
        n, (r, p, q) = len(x), a.shape
        inner = x.reshape(n, p, -1) @ b.transpose(1, 0, 2).reshape(b.shape[1], -1)
        # [n p (r b)] -> [n (r p) b]
        inner = inner.reshape(n, p, r, -1).transpose(0, 2, 1, 3).reshape(n, r * p, -1)
        return np.asarray((a.reshape(r * p, q).T @ inner).reshape(n, -1))


@final
@dataclass(frozen=True)
class Kronecker(Adapter):
    """W = sum_i A_i kron B_i, Compacter's form (arXiv 2106.04647, eq. 5), for hundreds of pairs.

    1. Start at the best sum of r Kronecker products of the Procrustes map: the SVD of its
       rearrangement (Van Loan and Pitsianis 1993).
    2. Ridge for all B_i with the A_i fixed, then for all A_i; `sweeps` times.

    terms: r. Parameters: r (pq + ab) float16, with p, q, a, b near the square roots of the
    dimensions.
    """

    terms: int = 8
    sweeps: int = 3

    def __post_init__(self) -> None:
        if self.terms < 1 or self.sweeps < 0:
            raise ValueError(f"terms >= 1 and sweeps >= 0, got {self.terms} and {self.sweeps}.")

    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedKronecker:
        """Fit on pairs; nothing is drawn, `seed` is ignored."""
        pairs = as_pairs(source, target)
        w = Procrustes().fit(source, target).state["w"]
        p, q = _factor(w.shape[0]), _factor(w.shape[1])
        a, b = _nearest(w, p, q, self.terms)
        x = pairs.x.reshape(len(pairs.x), p, -1)
        y = pairs.y.reshape(len(pairs.y), q, -1)
        for _ in range(self.sweeps):
            b = _solve(x, y, a)
            a = _solve(x.transpose(0, 2, 1), y.transpose(0, 2, 1), b)
        small = np.float16
        return FittedKronecker({"a": a.astype(small), "b": b.astype(small), **pairs.means})


def _factor(dim: int) -> int:
    """The divisor of dim nearest to its square root, from below."""
    return max(k for k in range(1, int(dim**0.5) + 1) if dim % k == 0)


def _nearest(w: Float32, p: int, q: int, terms: int) -> tuple[Float32, Float32]:
    d, e = w.shape
    arranged = w.reshape(p, d // p, q, e // q).transpose(0, 2, 1, 3).reshape(p * q, -1)
    u, s, vt = np.linalg.svd(arranged, full_matrices=False)
    r = min(terms, len(s))
    root = np.sqrt(s[:r])
    a = (u[:, :r] * root).T.reshape(r, p, q)
    b = (vt[:r] * root[:, None]).reshape(r, d // p, e // q)
    return np.asarray(a, np.float32), np.asarray(b, np.float32)


def _solve(x: Float32, y: Float32, a: Float32) -> Float32:
    """B_i [r a b] of least squares for y_n = sum_i A_i^T x_n B_i; x [n p a], y [n q b]."""
    r, p, q = a.shape
    features = np.einsum("npa,rpq->nqra", x, a, optimize=True).reshape(-1, r * x.shape[2])
    targets = y.reshape(-1, y.shape[2])
    gram = features.T @ features
    gram[np.diag_indices_from(gram)] += 0.1 * np.trace(gram) / len(gram)
    solved = np.linalg.solve(gram, features.T @ targets)
    return np.asarray(solved.reshape(r, x.shape[2], -1), np.float32)
