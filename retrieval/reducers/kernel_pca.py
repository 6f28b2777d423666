"""Kernel PCA with the cosine kernel, by scikit-learn."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attar.retrieval.reducer import FittedReducer, LinearMap, State
from attar.retrieval.reducers.kept import KeepingReducer, sampled, unit_rows
from attar.stores.types import Float32, Query

MOST_ROWS = 4096
"""Documents in the kernel matrix, 64 MB of float32; more are sampled."""


@dataclass(frozen=True)
class FittedKernelPCA(FittedReducer):
    """z = norm (x / |x| - mean) basis.

    The kernel <x, y> / (|x| |y|) is linear in unit vectors, so that the training set and its
    eigenvectors a fold into one matrix: basis = (X - mean)^T a / sqrt(eigenvalue), float32 [d e].
    Scores estimate <q, x> for documents of the norm `norm`, which is what a cosine store holds.
    """

    map: LinearMap
    norm: float

    @property
    def width(self) -> int:
        """Dimensions e that come out."""
        return self.map.width

    def transform(self, x: Float32) -> Float32:
        """Normalise, centre, project."""
        return self.map.transform(unit_rows(x)) * np.float32(self.norm)

    def inverse(self, z: Float32) -> Float32:
        """The document of the typical norm that z stands for."""
        return self.map.inverse(z / np.float32(self.norm)) * np.float32(self.norm)

    def prepare(self, q: Float32) -> Query:
        """Project only; the mean becomes the constant."""
        query = self.map.prepare(q)
        return Query(query.coords, query.const * np.float32(self.norm))

    def state(self) -> State:
        """Mean, basis and norm."""
        return {**self.map.state(), "norm": np.array([self.norm])}


@dataclass(frozen=True)
class KernelPCA(KeepingReducer):
    """`kpca<N>`: kernel PCA with the cosine kernel, as in the reference paper (arXiv 2505.00105).

    On unit vectors it is PCA, up to signs, at the cost of an n x n matrix; it is here to show that.
    Departs from the reference code as PCA does: queries are not centred.
    """

    word: ClassVar[str] = "kpca"
    form: ClassVar[str] = "kpca<N>, kpca<P>%"

    def min_rows(self, dim: int) -> int:
        """As many documents as dimensions kept."""
        return self.width(dim)

    def fit(self, x: Float32, seed: int) -> FittedKernelPCA:
        """Eigenvectors of the centred kernel matrix of at most 4,096 documents."""
        from sklearn.decomposition import KernelPCA as SklearnKernelPCA

        self.check_rows(len(x), x.shape[1])
        norm = float(np.sqrt(np.mean(np.square(x, dtype=np.float64).sum(axis=1)))) or 1.0
        rows = unit_rows(sampled(x, MOST_ROWS, seed)).astype(np.float64)
        model = SklearnKernelPCA(self.width(x.shape[1]), kernel="cosine", random_state=seed)
        model.fit(rows)
        mean = rows.mean(axis=0)
        values = model.eigenvalues_
        # Eigenvalues at rounding error belong to no direction of the data.
        real = values > max(float(values.max()), 0.0) * 1e-10
        root = np.sqrt(np.where(real, values, 1.0))
        basis = (rows - mean).T @ np.where(real, model.eigenvectors_ / root, 0.0)
        linear = LinearMap(mean.astype(np.float32), np.ascontiguousarray(basis, dtype=np.float32))
        return FittedKernelPCA(linear, norm)

    def restore(self, dim: int, state: State) -> FittedKernelPCA:
        """The same again."""
        linear = LinearMap(
            state["mean"].astype(np.float32, copy=False),
            state["basis"].astype(np.float32, copy=False),
        )
        return FittedKernelPCA(linear, float(state["norm"][0]))
