"""A covariance whose variances are those of documents that it was not fitted on.

The largest variances of a sample are too large and the smallest too small: directions are chosen to
make them so. Each fifth of the documents is projected on the eigenvectors of the other four; their
mean squares, made to fall, replace the eigenvalues of all (cross-validation based nonlinear
shrinkage: Bartz, arXiv 1611.00798; the isotonic variant).
"""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

FOLDS = 5
FLOOR = 1e-4
"""Least variance, as a share of the mean variance: a direction that no document showed is not 0."""


def heldout_covariance(documents: Float64) -> Float64:
    """Covariance [d d] of documents float64 [n d]; a multiple of one where they do not differ."""
    n, dim = documents.shape
    centred = documents - documents.mean(axis=0)
    power = float(np.mean(np.square(documents)))
    if n < 2 or np.mean(np.square(centred)) <= 1e-10 * power:
        return np.eye(dim) * (power or 1.0)
    own, basis = np.linalg.eigh(centred.T @ centred / n)
    held = _falling(_heldout_variance(documents))[::-1]
    variance = (own + (n - 1) * held) / n
    variance = np.maximum(variance, FLOOR * variance.mean())
    return np.asarray((basis * variance) @ basis.T)


def _heldout_variance(documents: Float64) -> Float64:
    """Mean square of held-out documents along the k-th strongest direction of the others, [d]."""
    n = len(documents)
    order, folds = np.random.default_rng(0).permutation(n), min(FOLDS, n)
    total = np.zeros(documents.shape[1])
    for fold in range(folds):
        held = documents[order[fold::folds]]
        others = documents[np.delete(order, np.s_[fold::folds])]
        mean = others.mean(axis=0)
        _, basis = np.linalg.eigh((others - mean).T @ (others - mean))
        total += np.square((held - mean) @ basis[:, ::-1]).sum(axis=0)
    return total / n


def _falling(values: Float64) -> Float64:
    from sklearn.isotonic import isotonic_regression

    return np.asarray(isotonic_regression(values, increasing=False), np.float64)
