"""The basis of waterfill: Karhunen-Loeve in the metric of the queries.

A score errs by <q, x - x^>, so that the expected squared error is (x - x^)^T W (x - x^) with
W = E[q q^T]. In z = W^(1/2) (x - mean) that is plain squared error, and the best linear transform
code for it is the principal basis V of W^(1/2) C W^(1/2): documents are mapped by A = W^(1/2) V,
queries by B = W^(-1/2) V, and <q, x> = <q, mean> + <q B, (x - mean) A>.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class WeightedTransform:
    """mean [d]; analysis A and synthesis B [d d], A^T B = 1; variance [d], non-increasing."""

    mean: Float64
    analysis: Float64
    synthesis: Float64
    variance: Float64


def weighted_transform(z: Float32, queries: Float32 | None) -> WeightedTransform:
    """Fit on documents float32 [n d] and sample queries [m d] or None.

    W is a mean of m observed queries and d imagined ones, half of which look like the documents
    (their second moment, uncentred) and half in every direction alike: few queries must not decide
    everything. Without queries the imagined ones remain. C is shrunk towards a multiple of one
    (oracle approximating shrinkage, Chen et al. 2010), so that directions which few documents
    could not show keep a variance; one document is enough.
    """
    documents = z.astype(np.float64)
    n, dim = documents.shape
    mean = documents.mean(axis=0)
    seen = _unit_trace(documents.T @ documents)
    prior = (seen + np.eye(dim) / dim) / 2
    if queries is None or len(queries) == 0:
        metric = prior
    else:
        asked = queries.astype(np.float64)
        metric = (len(queries) * _unit_trace(asked.T @ asked) + dim * prior) / (len(queries) + dim)
    root, inverse_root = _roots(dim * metric)
    covariance = _covariance(documents - mean, float(np.mean(np.square(documents))))
    variance, basis = np.linalg.eigh(root @ covariance @ root)
    basis, variance = basis[:, ::-1], np.maximum(variance[::-1], 1e-12 * variance[-1])
    return WeightedTransform(mean, root @ basis, inverse_root @ basis, variance)


def _unit_trace(moment: Float64) -> Float64:
    trace = float(np.trace(moment))
    dim = len(moment)
    return moment / trace if trace > 0 else np.eye(dim) / dim


def _roots(metric: Float64) -> tuple[Float64, Float64]:
    """W^(1/2) and W^(-1/2) of a positive definite matrix."""
    values, vectors = np.linalg.eigh(metric)
    root = np.sqrt(values)
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def _covariance(centred: Float64, power: float) -> Float64:
    """Shrunk covariance; for documents that do not differ, as much in every direction.

    power: mean square of the uncentred entries, against which "do not differ" is measured.
    """
    from sklearn.covariance import oas

    dim = centred.shape[1]
    if np.mean(np.square(centred)) <= 1e-10 * power:
        return np.eye(dim) * (power or 1.0)
    shrunk: Float64 = oas(centred, assume_centered=True)[0]
    return shrunk
