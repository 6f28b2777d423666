"""A map of a few kilobytes: a sum of Kronecker products."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import Adapter, as_pairs
from attar.retrieval.compat.linear import FittedLinear
from attar.retrieval.compat.procrustes import Procrustes
from attar.stores.types import Float32


@final
@dataclass(frozen=True)
class FittedKronecker(FittedLinear):
    """y = sum_i (A_i kron B_i)^T x in float16 parameters; A [r p q], B [r a b]."""

    kind: ClassVar[str] = "kronecker"

    @property
    def w(self) -> Float32:
        """[pa qb]: kilobytes on disk, the whole matrix in memory, which is faster to apply."""
        a, b = (self.state[name].astype(np.float32) for name in "ab")
        whole = np.tensordot(a, b, axes=(0, 0)).transpose(0, 2, 1, 3)
        return np.asarray(whole.reshape(a.shape[1] * b.shape[1], -1))


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

    terms: int = 64
    sweeps: int = 10
    strength: float = 0.1

    def __post_init__(self) -> None:
        if self.terms < 1 or self.sweeps < 0:
            raise ValueError(f"terms >= 1 and sweeps >= 0, got {self.terms} and {self.sweeps}.")

    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedKronecker:
        """Fit on pairs; nothing is drawn, `seed` is ignored."""
        pairs = as_pairs(source, target)
        w = Procrustes().fit(source, target).state["w"]
        p, q = _factor(w.shape[0]), _factor(w.shape[1])
        a, b = _nearest(w, p, q, self.terms)
        d, e = w.shape
        xx = (pairs.x.T @ pairs.x).reshape(p, d // p, p, d // p)
        xy = (pairs.x.T @ pairs.y).reshape(p, d // p, q, e // q)
        for _ in range(self.sweeps):
            b = _solve(xx, xy, a, self.strength)
            a = _solve(xx.transpose(1, 0, 3, 2), xy.transpose(1, 0, 3, 2), b, self.strength)
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


def _solve(moments: Float32, cross: Float32, a: Float32, strength: float) -> Float32:
    """B_i [r a b] of ridge for y = sum_i A_i^T x B_i, with A [r p q] fixed.

    moments [p a p' a'] of x with itself and cross [p a q b] of x with y hold all that the pairs
    say, so that the price does not depend on their number.
    """
    r, p, q = a.shape
    size, width = moments.shape[1], cross.shape[3]
    between = np.einsum("rpq,stq->rspt", a, a, optimize=True).reshape(r * r, p * p)
    gram = between @ moments.transpose(0, 2, 1, 3).reshape(p * p, size * size)
    gram = gram.reshape(r, r, size, size).transpose(0, 2, 1, 3).reshape(r * size, r * size)
    right = a.reshape(r, p * q) @ cross.transpose(0, 2, 1, 3).reshape(p * q, size * width)
    gram[np.diag_indices_from(gram)] += strength * np.trace(gram) / len(gram)
    solved = np.linalg.solve(gram, right.reshape(r * size, width))
    return np.asarray(solved.reshape(r, size, width), np.float32)
