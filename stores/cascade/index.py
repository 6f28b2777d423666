"""The sketch of one array of codes, with what the certificate needs.

Bytes per vector: s / 2 (head) + t / 2 (body) + 4 (error bounds), s and t the coordinates of head
and body. The codes themselves are not copied.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.projection import (
    Projection,
    fit_projection,
    metric_of,
)
from attar.stores.kernels.exact import Source, exact_levels
from attar.stores.kernels.sketch import Errors, SketchCodes, empty_codes, sketch_encode
from attar.stores.kernels.sketch.codes import ROWS16
from attar.stores.types import Float32, Levels

SAMPLE = 16_384
BLOCK = 8_192
STEPS = 255
ROUNDING = np.float32(1.0001)
"""Norms are computed in float32 with pairwise sums; one part in ten thousand is far above that."""


@dataclass(frozen=True)
class Cascade:
    """The sketch of `source`, its error bounds, and the largest norm of a document in z."""

    source: Source
    projection: Projection
    codes: SketchCodes
    errors: Errors
    largest: float

    @classmethod
    def build(
        cls,
        source: Source,
        gram: NDArray[np.float64],
        head_dims: int | None = None,
        body_dims: int | None = None,
        seed: int = 0,
        threads: int | None = 1,
    ) -> Self:
        """Fit the axes on a sample of the codes and sketch all of them.

        head_dims (a multiple of 8) and body_dims (even) default to `shape_for` the layout's width.
        """
        dim = source.layout.dim + (source.sqnorm is not None)
        head, body = shape_for(dim)
        head = head if head_dims is None else head_dims
        body = body if body_dims is None else body_dims
        rows = _sample(len(source), seed)
        levels, norms = _sampled(source, rows)
        metric = metric_of(gram, levels, source.sqnorm is not None)
        projection = fit_projection(metric, levels, norms, head, body)
        return cls(source, projection, *_encode(source, projection, threads))

    @property
    def nbytes(self) -> int:
        """Bytes of the sketch and its bounds."""
        return self.codes.nbytes + self.errors.steps.nbytes

    def __len__(self) -> int:
        return len(self.source)


def shape_for(dim: int) -> tuple[int, int]:
    """Nibbles of head and body for codes of `dim` columns: an eighth and a forty-eighth of them.

    At 768 columns 96 and 16: 48 B are scanned for every document. A head that says more leaves
    fewer candidates, and those cost a cache miss each (measured at 1M: 64 and 48 need 8,000 for
    the recall that 96 and 16 reach with 1,000).
    """
    head = min(max(8 * round(dim / 64), 8 * min(6, -(-dim // 8))), 128)
    return head, min(max(2 * round(dim / 96), 8), 128)


def _sample(n: int, seed: int) -> NDArray[np.int64]:
    if n <= SAMPLE:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))


def _sampled(source: Source, rows: NDArray[np.int64]) -> tuple[Levels, NDArray[np.float32] | None]:
    norms = None if source.sqnorm is None else source.sqnorm[rows]
    return source.layout.unpack(source.codes[rows]), norms


def _encode(
    source: Source, projection: Projection, threads: int | None
) -> tuple[SketchCodes, Errors, float]:
    n, leading = len(source), projection.plan.head_axes
    codes = empty_codes(n, projection.head_dims, projection.body_dims)
    bounds = np.zeros((4, n), np.float32)
    largest = 0.0
    for first in range(0, n, BLOCK):
        rows = slice(first, min(first + BLOCK, n))
        norms = None if source.sqnorm is None else source.sqnorm[rows]
        z = projection.metric.documents(exact_levels(source, first, rows.stop, threads), norms)
        largest = max(largest, float(np.einsum("ij,ij->i", z, z).max()))
        z -= projection.mean
        a = z @ projection.axes
        whole = np.einsum("ij,ij->i", z, z)
        heads, bodies = sketch_encode(a, projection.plan, codes, first, threads)
        in_head = np.einsum("ij,ij->i", a[:, :leading], a[:, :leading])
        in_body = np.einsum("ij,ij->i", a[:, leading:], a[:, leading:])
        # What is left is a difference of rounded sums: allow for their rounding.
        slack = np.float32(1e-5) * whole
        bounds[0, rows] = heads
        bounds[1, rows] = np.maximum(whole - in_head, 0) + slack
        bounds[2, rows] = bodies
        bounds[3, rows] = np.maximum(whole - in_head - in_body, 0) + slack
    return codes, _steps(bounds), float(np.sqrt(largest) * ROUNDING)


def _steps(squared: Float32) -> Errors:
    """Squared bounds [4 n] to bytes, rounded up."""
    bounds = np.sqrt(squared) * ROUNDING
    unit = np.maximum(bounds.max(axis=1, initial=0) / STEPS, np.float32(1e-30)).astype(np.float32)
    steps = np.ceil(bounds / unit[:, None])
    # A quotient that was rounded below its integer would make the last step too short.
    steps += steps * unit[:, None] < bounds
    whole = np.zeros((4, -(-steps.shape[1] // ROWS16) * ROWS16), np.uint8)
    whole[:, : steps.shape[1]] = np.minimum(steps, STEPS)
    return Errors(whole, unit * ROUNDING)
