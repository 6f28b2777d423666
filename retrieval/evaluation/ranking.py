"""Scores of a fitted codec's codes in memory, as a store of that metric defines them.

Levels times factor are the documents, prepared coordinates the queries, and an inner product ranks
them: what `stores.score` computes up to rounding, without a store on disk.
"""

import numpy as np

from attar.stores import metric as metrics
from attar.stores.protocols import Codec
from attar.stores.types import Codes, Float32

SQNORM_BYTES = 4


def encode(codec: Codec, documents: Float32, metric: str) -> Codes:
    """Documents [n d] as a store of this metric encodes them."""
    return codec.encode(metrics.documents(documents, metric, codec.norm))


def coded_documents(
    codec: Codec, codes: Codes, documents: Float32, metric: str = "cosine"
) -> Float32:
    """What stands for the documents in inner products: [n e], one column more under l2."""
    levels = codec.layout.unpack(codes)
    seen: Float32 = levels.y * levels.factor[:, None]
    if metric != "l2":
        return seen
    return np.concatenate([seen, metrics.sqnorms(documents)[:, None]], axis=1)


def coded_queries(codec: Codec, queries: Float32, metric: str = "cosine") -> Float32:
    """What stands for the queries, [m e]; the constant of a query, which ranks nothing, is left."""
    coords = metrics.prepared(queries, metric, codec).coords
    if metric != "l2":
        return coords
    return np.concatenate([coords, np.full((len(coords), 1), -1, np.float32)], axis=1)


def vector_bytes(codec: Codec, metric: str) -> int:
    """All bytes per document; a store with l2 keeps the squared norm beside the code."""
    return codec.bytes_per_vector + (SQNORM_BYTES if metric == "l2" else 0)
