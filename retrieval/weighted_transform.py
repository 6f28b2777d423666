"""The basis of waterfill: Karhunen-Loeve in the metric of the queries.

A score errs by <q, x - x^>, so that the expected squared error is (x - x^)^T W (x - x^) with
W = E[q q^T]. In z = W^(1/2) (x - mean) that is plain squared error, and the best linear transform
code for it is the principal basis V of W^(1/2) C W^(1/2): documents are mapped by A = W^(1/2) V,
queries by B = W^(-1/2) V, and <q, x> = <q, mean> + <q B, (x - mean) A>.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.heldout_covariance import heldout_covariance
from attar.stores.types import Float32

Float64 = NDArray[np.float64]


UNASKED = 0.25
FLATTER = 0.95
KEPT = 0.75
"""Without queries: share of the documents' moment in W, power of the variances, and how much of the
strongest deviation the mean may have beside the centre.

Chosen on foreign fits, all pairs of three collections under MiniLM. Against one half, 1 and the
whole mean as the centre they keep .5 points more of overlap@10 there at 8x and 1.9 at 16x, and cost
.1 and .3 at home. Less of the moment (.1) and a flatter spectrum (.9) keep 2.6 and cost 1.0 at 16x.
"""


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
    everything. Without queries the imagined ones remain. C is the `heldout_covariance`: what other
    documents of the kind will vary by, not what these do; one document is enough.
    """
    documents = z.astype(np.float64)
    dim = documents.shape[1]
    mean = documents.mean(axis=0)
    prior = _imagined(documents, 0.5)
    if queries is None or len(queries) == 0:
        metric = prior
    else:
        asked = queries.astype(np.float64)
        metric = (len(queries) * _unit_trace(asked.T @ asked) + dim * prior) / (len(queries) + dim)
    return _karhunen_loeve(mean, heldout_covariance(documents), metric)


def unasked_transform(z: Float32) -> WeightedTransform:
    """Fit on documents float32 [n d] alone, to serve others than those as well.

    As `weighted_transform` without queries, but for three things that a fit cannot know about the
    documents of tomorrow. 1. W trusts the documents' moment less. 2. The mean is the mean of these
    documents, and other collections lie elsewhere (means of three collections under one model were
    orthogonal): codes are centred on as much of it as leaves, in its direction, less than the
    strongest direction has, so that a foreign vector does not carry a foreign mean. 3. Variances
    are flattened: those that were large by chance or by subject are smaller elsewhere.
    """
    documents = z.astype(np.float64)
    mean = documents.mean(axis=0)
    scatter = (documents - mean).T @ (documents - mean) / len(documents)
    length = float(mean @ mean)
    strongest = float(np.linalg.eigvalsh(scatter)[-1])
    centre = mean * max(0.0, 1 - KEPT * np.sqrt(strongest / length)) if length > 0 else mean
    covariance = heldout_covariance(documents) + np.outer(mean - centre, mean - centre)
    found = _karhunen_loeve(centre, covariance, _imagined(documents, UNASKED))
    flat = found.variance**FLATTER
    return replace(found, variance=flat * (found.variance.sum() / flat.sum()))


def _imagined(documents: Float64, share: float) -> Float64:
    """W of queries of which a share look like the documents and the rest everywhere alike."""
    dim = documents.shape[1]
    even: Float64 = np.eye(dim) / dim
    return np.asarray(share * _unit_trace(documents.T @ documents) + (1 - share) * even)


def _karhunen_loeve(mean: Float64, covariance: Float64, metric: Float64) -> WeightedTransform:
    root, inverse_root = _roots(len(metric) * metric)
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
