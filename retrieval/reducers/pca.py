"""Principal component analysis, the reducer of the reference paper (arXiv 2505.00105)."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from attar.retrieval.reducer import LinearMap, Reducer, State
from attar.stores.types import Float32

SPELLING = re.compile(r"pca(?:(?P<count>\d+)|(?P<share>\d+(?:\.\d+)?)%(?P<variance>var)?)")


@dataclass(frozen=True)
class PCA(Reducer):
    """Keep the leading principal components of the documents.

    amount and unit: `192, "dims"` keeps that many; `50, "percent"` keeps round(.5 d); `95,
    "variance"` keeps the fewest that explain that share of the variance.

    Departs from the reference code, which centres queries too and compares by cosine about the
    corpus mean: here documents are centred, queries are not, and <q, mean> comes back as a constant
    of the query, so that scores estimate the metric itself.
    """

    amount: float
    unit: Literal["dims", "percent", "variance"] = "dims"

    form: ClassVar[str] = "pca<N>, pca<P>%, pca<P>%var"

    def __post_init__(self) -> None:
        limit = None if self.unit == "dims" else 100
        if self.amount <= 0 or (limit and self.amount > limit):
            raise ValueError(
                f"PCA keeps at least one dimension and at most 100 %, got {self}; "
                "write pca192, pca50% or pca95%var."
            )

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `pca192`, `pca50%` or `pca95%var`."""
        match = SPELLING.fullmatch(part)
        if match is None:
            return None
        if match["count"]:
            return cls(int(match["count"]))
        return cls(float(match["share"]), "variance" if match["variance"] else "percent")

    def __str__(self) -> str:
        suffix = {"dims": "", "percent": "%", "variance": "%var"}[self.unit]
        return f"pca{self.amount:g}{suffix}"

    def width(self, dim: int) -> int:
        """Dimensions kept of d, at most d; for a share of the variance, d until fitted."""
        if self.unit == "variance":
            return dim
        kept = self.amount if self.unit == "dims" else round(self.amount / 100 * dim)
        if not 1 <= kept <= dim:
            raise ValueError(
                f"{self} must keep between 1 and d = {dim} dimensions, got {kept:g}; "
                f"write pca{dim} or less."
            )
        return int(kept)

    def min_rows(self, dim: int) -> int:
        """As many documents as dimensions kept; two for a share of the variance."""
        return 2 if self.unit == "variance" else self.width(dim)

    def fit(self, x: Float32, seed: int) -> LinearMap:
        """Eigenvectors of the covariance of float32 [n d], by scikit-learn (deterministic)."""
        from sklearn.decomposition import PCA as SklearnPCA

        n, dim = x.shape
        if n < self.min_rows(dim):
            raise ValueError(
                f"{self} needs at least {self.min_rows(dim)} training vectors, got {n}; "
                f"add documents or keep at most {n} dimensions (pca{n})."
            )
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        wanted = self.amount / 100 if self.unit == "variance" else self.width(dim)
        if self.unit == "variance" and self.amount == 100:
            wanted = min(n, dim)
        # Centred before sklearn sees it: its covariance solver subtracts n * mean mean^T from
        # X^T X in float32, which loses everything when the mean is large.
        model = SklearnPCA(wanted, svd_solver="covariance_eigh", random_state=seed).fit(x - mean)
        return LinearMap(mean, np.ascontiguousarray(model.components_.T, dtype=np.float32))

    def restore(self, dim: int, state: State) -> LinearMap:
        """Mean and basis again."""
        return LinearMap(
            state["mean"].astype(np.float32, copy=False),
            state["basis"].astype(np.float32, copy=False),
        )
