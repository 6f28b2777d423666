"""What sketches of one store have in common: metric, axes, nibbles, and centres of cells.

score = const + <w, centre> + <w, z - centre>: the first product is computed once per cell, exactly,
and only the second is sketched. Rows about one centre lie together, so that a search that looks
into few cells reads few, contiguous bytes. With one cell its centre is the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.cells import Cells, cluster
from attar.stores.cascade.projection import Projection, fit_projection, metric_of
from attar.stores.kernels.exact import Source, exact_levels
from attar.stores.types import Float32, Levels

SAMPLE = 16_384
PER_CELL = 64
"""Rows of the sample per cell, where there are many cells."""


@dataclass(frozen=True)
class Frame:
    """How to sketch a document, and about which centres."""

    projection: Projection
    cells: Cells

    @classmethod
    def fit(
        cls,
        sources: Sequence[Source],
        gram: NDArray[np.float64],
        head_dims: int,
        body_dims: int,
        cells: int = 1,
        seed: int = 0,
        threads: int | None = 1,
    ) -> Self:
        """Fit on a sample of codes of one layout; cells about sqrt(n), one for a flat scan."""
        total = sum(len(source) for source in sources)
        most = max(SAMPLE, PER_CELL * cells)
        y, factors, norms = [], [], []
        for source in sources:
            rows = sample(len(source), -(-most * len(source) // max(total, 1)), seed)
            levels = exact_levels(source, rows, threads)
            y.append(levels.y)
            factors.append(levels.factor)
            if source.sqnorm is not None:
                norms.append(source.sqnorm[rows])
        levels = Levels(np.concatenate(y), np.concatenate(factors))
        metric = metric_of(gram, levels, bool(norms))
        z = metric.documents(levels, np.concatenate(norms) if norms else None)
        found = cluster(z, min(cells, max(len(z), 1)), seed)
        few = z[:: max(1, len(z) // SAMPLE)]
        rest = few - found.centres[found.assign(few)]
        wide = (few.astype(np.float64), rest.astype(np.float64))
        return cls(fit_projection(metric, *wide, head_dims, body_dims), found)

    def documents(self, source: Source, rows: Any, threads: int | None) -> Float32:
        """Documents z [n e'] of rows, a slice or an array."""
        norms = None if source.sqnorm is None else source.sqnorm[rows]
        return self.projection.metric.documents(exact_levels(source, rows, threads), norms)


def sample(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most so many of n rows, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
