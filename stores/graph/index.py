"""A graph for one array of codes: what `kernels.walk` walks, and how queries get there.

1. z = R^T (factor * y), documents in the metric of the scores (`cascade.projection`), about their
   mean, on the g leading principal axes: a quarter of the columns, in whole cache lines
   (200,000 x 768: of 48 candidates by 192 coordinates the true ten are 10.0).
2. One step for all axes, so that errors of scores are equal wherever they come from: bytes
   c = rint(a / step) + 128, step the `TAIL` quantile of |a| over 127.
3. HNSW of faiss over these bytes (L2: a graph of documents, whatever the metric of queries), of
   which the ground layer is kept, and the nodes of a high layer as places to begin.

Bytes per vector: g + 4 r, at 768 columns and 64 links 448.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.frame import SAMPLE, sample
from attar.stores.cascade.projection import Metric, metric_of, principal_axes
from attar.stores.graph.links import linked
from attar.stores.kernels.exact import Source, exact_levels
from attar.stores.kernels.walk import LINE, Graph, Turn, turned
from attar.stores.types import Float32

BLOCK = 8_192
SHARE = 4
TAIL = 0.9999
MIDDLE = 128


@dataclass(frozen=True)
class Leading:
    """Coordinates that the graph is made of.

    axes float32 [e' g] (zero columns up to whole cache lines), mean float32 [e'], step > 0.
    """

    metric: Metric
    axes: Float32
    mean: Float32
    step: float

    @classmethod
    def fit(cls, source: Source, gram: NDArray[np.float64], seed: int = 0) -> Self:
        """Axes, mean and step of a sample of codes."""
        rows = sample(len(source), SAMPLE, seed)
        levels = exact_levels(source, rows)
        norms = None if source.sqnorm is None else source.sqnorm[rows]
        metric = metric_of(gram, levels, norms is not None)
        z = metric.documents(levels, norms).astype(np.float64)
        mean = z.mean(axis=0)
        width = min(LINE * -(-z.shape[1] // (SHARE * LINE)), z.shape[1])
        axes = principal_axes(z - mean)[:, :width]
        inside = np.abs((z - mean) @ axes)
        step = max(float(np.quantile(inside.max(axis=1), TAIL)) / 127, 1e-30)
        wide = np.zeros((z.shape[1], LINE * -(-width // LINE)), np.float32)
        wide[:, :width] = axes
        return cls(metric, wide, mean.astype(np.float32), step)

    def documents(self, source: Source, threads: int | None = 1) -> NDArray[np.uint8]:
        """Bytes [n g] of all rows."""
        codes = np.empty((len(source), self.axes.shape[1]), np.uint8)
        for first in range(0, len(source), BLOCK):
            at = slice(first, min(first + BLOCK, len(source)))
            norms = None if source.sqnorm is None else source.sqnorm[at]
            z = self.metric.documents(exact_levels(source, at, threads), norms)
            a = (z - self.mean) @ self.axes
            codes[at] = np.clip(np.rint(a / np.float32(self.step)) + MIDDLE, 0, 255)
        return codes

    @cached_property
    def turn(self) -> Turn:
        """Prepared coordinates [e] to axes; the constant is l2's column."""
        e = len(self.metric.inverse)
        both = self.metric.queries(np.concatenate([np.eye(e), np.zeros((1, e))]).astype(np.float32))
        inside = both @ self.axes
        return Turn.of(np.ascontiguousarray((inside[:e] - inside[e]).T), inside[e])

    def queries(self, coords: Float32, impl: str = "auto") -> NDArray[np.int8]:
        """Prepared coordinates [m e] as bytes [m g], each query in its own unit."""
        return turned(self.turn, coords, impl)


@dataclass(frozen=True)
class GraphIndex:
    """The graph of `source` in its leading coordinates."""

    source: Source
    leading: Leading
    graph: Graph

    @classmethod
    def build(
        cls,
        source: Source,
        gram: NDArray[np.float64],
        links: int = 64,
        seed: int = 0,
        threads: int | None = 1,
    ) -> Self:
        """Fit the coordinates and link all rows, each to at most `links` others."""
        leading = Leading.fit(source, gram, seed)
        codes = leading.documents(source, threads)
        return cls(source, leading, linked(codes, links, seed, threads))

    @property
    def nbytes(self) -> int:
        """Bytes of the graph, its codes and axes."""
        return self.graph.nbytes + self.leading.axes.nbytes

    def __len__(self) -> int:
        return len(self.source)
