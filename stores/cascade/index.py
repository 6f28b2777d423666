"""The sketch of one array of codes, with what the certificate needs.

Bytes per vector: s / 2 (head) + t / 2 (body) + 4 (error bounds), s and t the nibbles of head and
body; with cells 4 more (which row lies where). The codes themselves are not copied.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.cells import CHOICE, arranged, balanced
from attar.stores.cascade.frame import Frame
from attar.stores.kernels.exact import Limits, Source
from attar.stores.kernels.sketch import (
    NOWHERE,
    ROWS16,
    Errors,
    SketchCodes,
    empty_codes,
    sketch_encode,
)
from attar.stores.types import Float32

BLOCK = 8_192
STEPS = 255
ROUNDING = np.float32(1.0001)
"""Norms are computed in float32 with pairwise sums; one part in ten thousand is far above that."""


@dataclass(frozen=True)
class Cascade:
    """The sketch of `source` in a frame, its error bounds, the largest norm of a document in z.

    float32 [cells], distances of documents from the centre of their cell: radii, the largest, and
    spreads, the root of the mean square.
    """

    source: Source
    frame: Frame
    codes: SketchCodes
    errors: Errors
    radii: Float32
    spreads: Float32
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
        cells: int = 1,
    ) -> Self:
        """Fit a frame on a sample of the codes and sketch all of them.

        head_dims (a multiple of 8) and body_dims (even) default to `shape_for` the layout's width.
        """
        dim = source.layout.dim + (source.sqnorm is not None)
        head, body = shape_for(dim)
        head = head if head_dims is None else head_dims
        body = body if body_dims is None else body_dims
        frame = Frame.fit([source], gram, head, body, cells, seed, threads)
        return cls.encode(source, frame, threads)

    @classmethod
    def encode(cls, source: Source, frame: Frame, threads: int | None = 1) -> Self:
        """Sketch codes in a frame that is there already."""
        projection = frame.projection
        starts, order = None, None
        if len(frame.cells) > 1:
            starts, order = arranged(_owners(source, frame, threads), len(frame.cells))
        shape = projection.head_dims, projection.body_dims
        codes = empty_codes(len(source), *shape, starts, order)
        bounds, radii, spreads, largest = _sketch(source, frame, codes, threads)
        return cls(source, frame, codes, _steps(bounds), radii, spreads, largest)

    @cached_property
    def limits(self) -> Limits:
        """What bounds the rounding of integer scores; z = R^T factor y gives |factor y|."""
        inverse = self.frame.projection.metric.inverse
        sizes = np.abs(inverse) if inverse.ndim == 1 else np.linalg.svd(inverse, compute_uv=False)
        # A direction that no query has may be any length in a document.
        whole = float(sizes.min(initial=1)) > 1e-9 * float(sizes.max(initial=1))
        size = float(sizes.max(initial=0)) * (1 + 1e-4) if whole else np.inf
        return Limits.of(self.source, self.largest * size)

    @property
    def nbytes(self) -> int:
        """Bytes of the sketch, its bounds and the centres."""
        shared = self.frame.cells.nbytes + self.radii.nbytes + self.spreads.nbytes
        return self.codes.nbytes + self.errors.steps.nbytes + shared

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


def sketch_bytes(dim: int) -> int:
    """Bytes per vector of a sketch of `dim` columns in cells: nibbles, bounds, order."""
    head, body = shape_for(dim)
    return head // 2 + body // 2 + 8


def _owners(source: Source, frame: Frame, threads: int | None) -> NDArray[np.int64]:
    """The cell of every row."""
    distances, choices = [], []
    for first in range(0, len(source), BLOCK):
        z = frame.documents(source, slice(first, min(first + BLOCK, len(source))), threads)
        distance, choice = frame.cells.nearest(z, CHOICE)
        distances.append(distance)
        choices.append(choice.astype(np.int32))
    choice = np.concatenate(choices).astype(np.int64)
    return balanced(np.concatenate(distances), choice, len(frame.cells))


def _sketch(
    source: Source, frame: Frame, codes: SketchCodes, threads: int | None
) -> tuple[Float32, Float32, Float32, float]:
    """Fill codes; squared error bounds [4 positions], radii, spreads [cells], the largest norm."""
    projection, leading = frame.projection, frame.projection.plan.head_axes
    cells = np.repeat(np.arange(codes.cells), ROWS16 * np.diff(codes.starts))
    stop = len(source) if codes.order is None else len(codes.body)
    bounds = np.zeros((4, len(codes.body)), np.float32)
    radii, largest = np.zeros(codes.cells, np.float32), 0.0
    sums, counts = np.zeros((2, codes.cells))
    for first in range(0, stop, BLOCK):
        at = slice(first, min(first + BLOCK, stop))
        here = np.ones(at.stop - at.start, bool)
        if codes.order is None:
            z = frame.documents(source, at, threads)
        else:
            rows = codes.order[at]
            here = rows != NOWHERE
            z = frame.cells.centres[cells[at]]
            z[here] = frame.documents(source, rows[here].astype(np.int64), threads)
        largest = max(largest, float(np.einsum("ij,ij->i", z, z).max()))
        z -= frame.cells.centres[cells[at]]
        a = z @ projection.axes
        whole = np.einsum("ij,ij->i", z, z)
        np.maximum.at(radii, cells[at], whole)
        # Empty places lie in the centre.
        sums += np.bincount(cells[at], whole, codes.cells)
        counts += np.bincount(cells[at], here, codes.cells)
        heads, bodies = sketch_encode(a, projection.plan, codes, first, threads)
        in_head = np.einsum("ij,ij->i", a[:, :leading], a[:, :leading])
        in_body = np.einsum("ij,ij->i", a[:, leading:], a[:, leading:])
        # What is left is a difference of rounded sums: allow for their rounding.
        slack = np.float32(1e-5) * whole
        bounds[0, at] = heads
        bounds[1, at] = np.maximum(whole - in_head, 0) + slack
        bounds[2, at] = bodies
        bounds[3, at] = np.maximum(whole - in_head - in_body, 0) + slack
    spreads = np.sqrt(sums / np.maximum(counts, 1)).astype(np.float32)
    return bounds, np.sqrt(radii) * ROUNDING, spreads, float(np.sqrt(largest) * ROUNDING)


def _steps(squared: Float32) -> Errors:
    """Squared bounds [4 n] to bytes, rounded up."""
    bounds = np.sqrt(squared) * ROUNDING
    unit = np.maximum(bounds.max(axis=1, initial=0) / STEPS, np.float32(1e-30)).astype(np.float32)
    steps = np.ceil(bounds / unit[:, None])
    # A quotient that was rounded below its integer would make the last step too short.
    steps += steps * unit[:, None] < bounds
    return Errors(np.minimum(steps, STEPS).astype(np.uint8), unit * ROUNDING)
