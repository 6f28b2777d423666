"""How compatible the versions of a model are: the criterion, the matrix, AC and AA."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attar.retrieval.evaluation.bootstrap import Interval, paired_bootstrap


@dataclass(frozen=True)
class CompatibilityMatrix:
    """values[i, j] = M(queries by model i, gallery by model j), for i >= j; float64 [T T].

    The diagonal is self-tests, below it cross-tests; above it nothing is read. M is any measure
    where more is better, from 0 to 1.
    """

    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape, lower = self.values.shape, np.tril_indices(len(self.values))
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
            raise ValueError(f"The matrix is [T T] with T >= 2 models, got {list(shape)}.")
        if not np.isfinite(self.values[lower]).all():
            raise ValueError("Every entry on and below the diagonal is a finite number.")

    @classmethod
    def of_rows(cls, rows: ArrayLike) -> "CompatibilityMatrix":
        """From a lower triangle: row i has i + 1 entries."""
        lists = [np.asarray(row, np.float64) for row in rows]  # type: ignore[union-attr]
        values = np.full((len(lists), len(lists)), np.nan)
        for i, row in enumerate(lists):
            if row.shape != (i + 1,):
                raise ValueError(f"Row {i} has {i + 1} entries, got {list(row.shape)}.")
            values[i, : i + 1] = row
        return cls(values)

    @property
    def average_compatibility(self) -> float:
        """AC = 2 / (T (T - 1)) * #{i > j : C_ij > C_jj}: share of updates that pay (a tie fails).

        Source: arXiv 2405.02581, as the authors' code counts it.
        """
        t = len(self.values)
        i, j = np.tril_indices(t, -1)
        return float((self.values[i, j] > self.values[j, j]).sum() * 2 / (t * (t - 1)))

    @property
    def average_accuracy(self) -> float:
        """AA: mean of the T (T + 1) / 2 entries with i >= j ("AM" in the authors' code)."""
        return float(self.values[np.tril_indices(len(self.values))].mean())


@dataclass(frozen=True)
class Criterion:
    """gain: interval of M(new, old) - M(old, old), query by query."""

    gain: Interval

    @property
    def holds(self) -> bool:
        """Whether the mean says that the new model's queries find more in the old gallery."""
        return self.gain.mean > 0

    @property
    def shown(self) -> bool:
        """Whether these queries can show it: the whole interval lies above 0."""
        return self.gain.low > 0


def empirical_criterion(cross: ArrayLike, own: ArrayLike, *, seed: int = 0) -> Criterion:
    """The Empirical Compatibility Criterion: M(new, old) > M(old, old) (Shen et al., CVPR 2020).

    cross, own: one value a query [m], of the new model's and of the old model's queries against the
    old gallery.
    """
    return Criterion(paired_bootstrap(cross, own, seed=seed))
