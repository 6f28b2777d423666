"""Where the sketch looks: principal axes of the documents in the metric of the scores.

A layout's levels have no common unit: step sizes and scales are folded into the prepared query. The
Gram matrix G of the codec's `prepare` restores it: with G = R R^T and

    z(c) = R^T (factor(c) * y(c))        w(q) = R^-1 q'

the score is const + <w, z>, and |w| is the length of the query itself, so that axes of large
variance of z are those in which scores differ, and the Cauchy-Schwarz inequality is as tight as it
can be. An l2 store has one column more: z ends with -sqnorm * b, w with 1 / b.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.allotment import allot
from attar.stores.kernels.sketch import EncodePlan
from attar.stores.kernels.sketch.codes import STEP
from attar.stores.protocols import Codec
from attar.stores.types import Float32, Levels

DIAGONAL = 0.02
"""R is diagonal where G nearly is: scores are exact, |w| is a query's length to a hundredth."""

TINY = 1e-12


def gram_of(codec: Codec) -> NDArray[np.float64]:
    """G [e e]: prepared unit queries against each other."""
    coords = codec.prepare(np.eye(codec.dim, dtype=np.float32)).coords.astype(np.float64)
    return coords.T @ coords


@dataclass(frozen=True)
class Metric:
    """root R and inverse R^-1, each [e] where R is diagonal, else [e e]; b of an l2 store or 0."""

    root: Float32
    inverse: Float32
    norm_scale: float

    def documents(self, levels: Levels, sqnorm: NDArray[np.float32] | None) -> Float32:
        """Levels of n documents to z [n e'], e' = e, or e + 1 in an l2 store."""
        y = levels.y * levels.factor[:, None]
        z = y * self.root if self.root.ndim == 1 else y @ self.root
        if sqnorm is None:
            return np.asarray(z, np.float32)
        column = -sqnorm[:, None] * np.float32(self.norm_scale)
        return np.concatenate([z, column], axis=1, dtype=np.float32)

    def queries(self, coords: Float32) -> Float32:
        """Prepared coordinates [m e] to w [m e']."""
        w = coords * self.inverse if self.inverse.ndim == 1 else coords @ self.inverse
        if not self.norm_scale:
            return np.asarray(w, np.float32)
        column = np.full((len(w), 1), 1 / self.norm_scale, np.float32)
        return np.concatenate([w, column], axis=1, dtype=np.float32)


def metric_of(gram: NDArray[np.float64], levels: Levels, l2: bool) -> Metric:
    """The metric of scores, and for l2 the weight that gives norms the unit of a coordinate."""
    root = np.sqrt(np.diag(gram))
    units = np.where(root > TINY * root.max(initial=0), root, np.inf)
    off = gram / units / units[:, None]
    np.fill_diagonal(off, 0)
    if np.linalg.norm(off, 2) <= DIAGONAL:
        inverse = np.where(root > TINY * root.max(initial=0), 1 / np.maximum(root, 1e-30), 0)
    else:
        values, vectors = np.linalg.eigh(gram)
        keep = values > TINY * values[-1]
        size = np.sqrt(np.maximum(values, 0))
        root = vectors * size
        inverse = vectors * np.where(keep, 1 / np.maximum(size, 1e-30), 0)
    bare = Metric(root.astype(np.float32), inverse.astype(np.float32), 0.0)
    if not l2:
        return bare
    z = bare.documents(levels, None)
    rms = float(np.sqrt(np.mean(z.astype(np.float64) ** 2))) if z.size else 1.0
    return Metric(bare.root, bare.inverse, 1 / max(2 * rms, 1e-20))


@dataclass(frozen=True)
class Projection:
    """Coordinates of a sketch, a = (z - centre) @ axes, and which nibble codes which of them."""

    metric: Metric
    axes: Float32
    plan: EncodePlan
    head_dims: int

    @property
    def body_dims(self) -> int:
        """Nibbles of the body."""
        return len(self.plan.axis) - self.head_dims

    def inside(self, w: Float32) -> Float32:
        """Coordinates of queries w [m e'] on the axes."""
        return np.asarray(w @ self.axes, np.float32)

    def weights(self, inside: Float32) -> Float32:
        """Coordinates on the axes to weights of the sketch's levels [m, s + t]."""
        scale = self.plan.spread * np.float32(STEP)
        return np.asarray(inside[:, self.plan.axis] * scale, np.float32)


def principal_axes(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal directions of x [n e] by descending second moment, [e e]."""
    _, vectors = np.linalg.eigh(x.T @ x)
    return np.ascontiguousarray(vectors[:, ::-1])


def fit_projection(
    metric: Metric,
    z: NDArray[np.float64],
    rest: NDArray[np.float64],
    head_dims: int,
    body_dims: int,
) -> Projection:
    """Axes of what centres leave of a sample of documents z, and nibbles where they help most.

    rest [n e'] is z [n e'] without the centres.
    """
    axes = principal_axes(rest)[:, : head_dims + body_dims]
    # Documents stand in for queries: E[q_j^2] is their second moment, mean included.
    importance = ((z @ axes) ** 2).mean(axis=0) if len(z) else np.ones(axes.shape[1])
    plan = allot(rest @ axes, importance, head_dims, body_dims)
    used = int(plan.axis.max()) + 1
    return Projection(metric, np.ascontiguousarray(axes[:, :used], np.float32), plan, head_dims)
