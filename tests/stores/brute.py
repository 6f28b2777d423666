"""Search in the plainest way: every document scored by the formula, sorted by score and id."""

import numpy as np

from attar.stores import metric as metrics
from attar.stores.score import scores


def brute(codec, metric, ids, x, queries, k, allowed=None):
    """Ids and scores [m k'] of a store that holds documents x under one fitted codec."""
    rows = [i for i in range(len(ids)) if allowed is None or ids[i] in allowed]
    x = x[rows]
    levels = codec.layout.unpack(codec.encode(metrics.documents(x, metric, codec.norm)))
    query = metrics.prepared(queries, metric, codec)
    sqnorm = metrics.sqnorms(x) if metric == "l2" else None
    out_ids, out_scores = [], []
    for coords, const in zip(query.coords, query.const, strict=True):
        values = scores(coords, const, levels, sqnorm)
        order = sorted(range(len(rows)), key=lambda i: (-values[i], ids[rows[i]].encode()))[:k]
        out_ids.append([ids[rows[i]] for i in order])
        out_scores.append([values[i] for i in order])
    return np.array(out_ids, object), np.array(out_scores, np.float32)
