"""How large an archive will be, before anything is encoded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.inputs import as_vectors
from attar.retrieval.rate_model import bits_per_coordinate, bits_per_vector, half_step_for_error
from attar.retrieval.weighted_transform import weighted_transform


@dataclass(frozen=True)
class PredictedSize:
    """bits_per_vector without tables; nbytes for all documents, tables inside."""

    bits_per_vector: float
    nbytes: int


def predict_size(
    x: ArrayLike, eps: float, n: int | None = None, queries: ArrayLike | None = None
) -> PredictedSize:
    """Expect what `waterfill:ec` takes to bring documents within eps, from their spectrum alone.

    x: a sample of the documents [s d]; eps > 0: root mean square distance of a decoded document
    from its original, in the metric of the code, as a share of the typical distance from the mean
    (0.1 is 20 dB); n: how many documents there will be, default s. One eigendecomposition; the bits
    of a coordinate of given deviation are known (`rate_model`), so nothing is encoded.
    """
    documents = as_vectors(x, "documents")
    if not 0 < eps < 1:
        raise ValueError(f"eps is a share of the typical distance, 0 < eps < 1, got {eps}.")
    sample = None if queries is None else as_vectors(queries, "queries", documents.shape[1])
    deviation = np.sqrt(weighted_transform(documents, sample).variance)
    half_step = half_step_for_error(deviation, eps**2 * float(np.sum(deviation**2)))
    bits = bits_per_coordinate(deviation, half_step)
    total = bits_per_vector(deviation, half_step)
    rows = len(documents) if n is None else n
    return PredictedSize(total, int(rows * total / 8 + _table_bytes(bits)))


def _table_bytes(bits: np.ndarray) -> float:
    """Two tables a column that has bits: their entries and heads after zstd, as measured."""
    used = bits[bits > 0.01]
    return float(300 + np.sum(np.minimum(2.0 ** (used + 2), 60) + 4))
