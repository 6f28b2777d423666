"""How a metric becomes inner products: what is encoded, what is asked, what is subtracted.

cosine  documents are scaled to the codec's norm N, queries to 1/N: <q, x> is the cosine
ip      both as they are
l2      documents as they are with |x|^2 beside them; -|q - x|^2 = <2q, x> - |q|^2 - |x|^2
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.inputs import row_norms, scaled
from attar.stores.protocols import Codec
from attar.stores.types import Float32, Query

Norms = NDArray[np.float64] | None


def documents(x: Float32, metric: str, norm: float, norms: Norms = None) -> Float32:
    """What the codec encodes for documents x [n d], which have no zero row under cosine.

    norms: Euclidean norms [n], where they are known.
    """
    return scaled(x, norm, norms) if metric == "cosine" else np.ascontiguousarray(x, np.float32)


def sqnorms(x: Float32, norms: Norms = None) -> NDArray[np.float32]:
    """Squared norms of documents [n], summed in float64."""
    return np.asarray((row_norms(x) if norms is None else norms) ** 2, np.float32)


def prepared(q: Float32, metric: str, codec: Codec) -> Query:
    """Queries q [m d] for one codec."""
    if metric == "cosine":
        return codec.prepare(scaled(q, 1 / codec.norm))
    if metric == "ip":
        return codec.prepare(q)
    query = codec.prepare(np.asarray(2 * q, np.float32))
    return Query(query.coords, np.asarray(query.const - sqnorms(q), np.float32))
