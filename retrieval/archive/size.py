"""How large an archive will be, before anything is encoded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.inputs import as_vectors
from attar.retrieval.rate_model import bits_per_coordinate, bits_per_vector, half_step_for_error
from attar.retrieval.weighted_transform import weighted_transform


@dataclass(frozen=True)
class PredictedSize:
    """bits_per_vector of documents to come, without tables: what `waterfill:ec@` is asked for.

    nbytes: for all documents, those of the sample among them, tables inside.
    """

    bits_per_vector: float
    nbytes: int


def predict_size(
    x: ArrayLike, eps: float, n: int | None = None, queries: ArrayLike | None = None
) -> PredictedSize:
    """Expect what `waterfill:ec` takes to bring documents within eps, from their spectrum alone.

    x: a sample of the documents [s d]; eps > 0: root mean square distance of a decoded document
    from its original, in the metric of the code, as a share of the typical distance from the mean
    (0.1 is 20 dB); n: how many documents there will be, the sample among them, default s. The bits
    of a coordinate of given deviation are known (`rate_model`), so nothing is encoded. The sample
    varies in its own directions as it does, the others as held-out documents do.
    """
    documents = as_vectors(x, "documents")
    rows = len(documents) if n is None else n
    if not 0 < eps < 1:
        raise ValueError(f"eps is a share of the typical distance, 0 < eps < 1, got {eps}.")
    if rows < len(documents):
        raise ValueError(f"n counts the {len(documents)} documents of the sample too, got {n}.")
    sample = None if queries is None else as_vectors(queries, "queries", documents.shape[1])
    transform = weighted_transform(documents, sample)
    deviation = np.sqrt(transform.variance)
    half_step = half_step_for_error(deviation, eps**2 * float(np.sum(deviation**2)))
    coords = (documents - transform.mean) @ transform.analysis
    own = np.sqrt(np.mean(np.square(coords), axis=0))
    total = bits_per_vector(deviation, half_step)
    known = bits_per_vector(own, half_step)
    bits = len(documents) * known + (rows - len(documents)) * total
    tables = _table_bytes(bits_per_coordinate(deviation, half_step))
    return PredictedSize(total, int(bits / 8 + tables))


def _table_bytes(bits: np.ndarray) -> float:
    """Two tables a column that has bits: their entries and heads after zstd, as measured."""
    used = bits[bits > 0.01]
    return float(300 + np.sum(0.8 * np.minimum(2.0 ** (used + 2), 60) + 4))
