"""The d-Simplex fixed classifier: class prototypes that never move, so that features stay put."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from attar.stores.types import Float32


def simplex_vertices(classes: int) -> Float32:
    """Vertices W float32 [K K-1] of the regular simplex on the unit sphere (arXiv 2405.02581).

    1. Rows e_1 .. e_d and a * 1 with a = (1 - sqrt(1 + d)) / d, d = K - 1: K points at one distance
       from each other.
    2. Subtract their mean, scale every row to length 1.

    Then <w_i, w_j> = -1 / (K - 1) for i != j: no classes can be further apart. ValueError for fewer
    than two classes.
    """
    if classes < 2:
        raise ValueError(f"A simplex separates at least 2 classes, got {classes}; give more.")
    d = classes - 1
    rows = np.vstack([np.eye(d), np.full(d, (1 - np.sqrt(1 + d)) / d)])
    rows -= rows.mean(axis=0)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@dataclass(frozen=True)
class DSimplex:
    """A classifier that is allocated once, for classes that are known and for those to come.

    capacity: K, the classes there may ever be; features have K - 1 dimensions. taken: class ->
    vertex. `allocate` gives new classes the next free vertices and never moves one, so a model that
    is trained later, or is another architecture altogether, learns towards the same prototypes.
    """

    capacity: int
    taken: Mapping[Hashable, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.capacity < 2:
            raise ValueError(f"capacity is at least 2 classes, got {self.capacity}.")

    @property
    def dim(self) -> int:
        """Dimensions of the features, K - 1."""
        return self.capacity - 1

    @property
    def weights(self) -> Float32:
        """W float32 [K K-1]; logits of features z are z W^T, and W is not trained."""
        return simplex_vertices(self.capacity)

    def allocate(self, classes: Iterable[Hashable]) -> "DSimplex":
        """The same classifier with a vertex for each of these classes; those it has keep theirs."""
        taken = dict(self.taken)
        for each in classes:
            taken.setdefault(each, len(taken))
        if len(taken) > self.capacity:
            raise ValueError(
                f"This simplex has {self.capacity} vertices, {len(taken)} classes need one each. "
                "Allocate more before the first training: a larger simplex is another space."
            )
        return DSimplex(self.capacity, taken)

    def targets(self, labels: Iterable[Hashable]) -> np.ndarray:
        """Vertex of each label, int64 [b]; a label without one is refused."""
        try:
            return np.array([self.taken[label] for label in labels], np.int64)
        except KeyError as error:
            raise ValueError(f"No vertex is allocated for class {error.args[0]!r}.") from None
