"""Codes with a spectrum and clusters, in three metrics, with the prepared queries for them."""

import numpy as np

import attar
from attar.stores import metric as metrics
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.kernels.exact import source


def vectors(n: int, dim: int, seed: int):
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(dim) + 5.0) ** -1.0
    centres = rng.standard_normal((12, dim)) * spectrum * 3
    rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    x = centres[rng.integers(0, 12, n)] + rng.standard_normal((n, dim)) * spectrum
    return ((x + 0.3 * spectrum) @ rotation).astype(np.float32)


def cascade(
    spec: str,
    metric: str,
    n: int,
    dim: int = 64,
    seed: int = 0,
    m: int = 6,
    shape=(16, 16),
    cells: int = 1,
):
    """A built cascade and m prepared queries near documents."""
    x = vectors(n, dim, seed)
    rng = np.random.default_rng(seed + 1)
    q = x[rng.integers(0, n, m)] + 0.1 * rng.standard_normal((m, dim)).astype(np.float32)
    codec = attar.codec(spec).fit(x)
    codes = codec.encode(metrics.documents(x, metric, codec.norm))
    norms = metrics.sqnorms(x) if metric == "l2" else None
    held = source(codec.layout, codes, norms)
    index = Cascade.build(held, gram_of(codec), *shape, cells=cells)
    return index, metrics.prepared(q, metric, codec)
