"""The table of methods: every reducer and quantizer has a row; a test compares it with the exports.

bound: largest |decode(encode(x)) - x| in units of the row's largest magnitude, None when the method
drops dimensions (then the law is that of a projection).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Method:
    spec: str
    bytes_per_vector: int
    """For d = 24."""
    bound: float | None = None
    linear: bool = True
    """Whether scores estimate the inner product."""
    rows: int = 200
    """Documents that the laws are tried on; fewer where every one takes milliseconds."""


DIM = 24

METHODS = [
    Method("float32", 96, 0.0),
    Method("float16", 48, 2**-11),
    Method("bfloat16", 48, 2**-8),
    Method("float8_e4m3", 24, 2**-4),
    Method("float8_e5m2", 24, 2**-3),
    Method("float8_e4m3:scaled", 26, 2**-4),
    Method("float8_e5m2:scaled", 26, 2**-3),
    Method("float8_e3m4", 26, 2**-5),
    Method("int8", 26, 0.502 / 127),
    Method("int8:minmax", 24),
    Method("float6_e2m3", 20),
    Method("float6_e3m2:g8", 23),
    Method("float4_e2m1", 14),
    Method("float4_e2m1:g8", 17),
    Method("int4", 14),
    Method("int2", 8),
    Method("ternary", 7),
    Method("binary", 3),
    Method("binary:scaled", 5),
    Method("pq6x4", 3),
    Method("opq6x4", 3),
    Method("sq8", 24),
    Method("sq4", 12),
    Method("rabitq1", 11, linear=False),
    Method("rabitq4", 32, linear=False),
    Method("eden4", 20),
    Method("turboquant4", 14),
    Method("waterfill", 12),
    Method("waterfill@6bpd", 18),
    Method("waterfill@5B", 5),
    Method("waterfill:ec@6bpd", 0),
    Method("pca24", 96, 1e-5),
    Method("kpca50%", 48),
    Method("kpca20+int8", 22),
    Method("truncate50%", 48),
    Method("truncate8+int4", 6),
    Method("rotate", 96, 1e-5),
    Method("centre", 96, 1e-5),
    Method("centre+rotate+int2", 8),
    Method("gaussianrp50%", 48),
    Method("sparserp16", 64),
    Method("autoencoder50%+int8", 14, linear=False),
    Method("umap8", 32, linear=False, rows=30),
    Method("pca50%+float8_e4m3", 12),
    Method("pca50%+int8", 14),
    Method("pca90%var+float16", 0),
    Method("pca50%+waterfill@4bpd", 12),
]


def documents(n: int = 200, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Centred off the origin, correlated, with a decaying spectrum: what embeddings look like."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dim, dim)) * (np.arange(1, dim + 1) ** -0.7)[:, None]
    x = rng.normal(size=(n, dim)) @ mix + rng.normal(size=dim)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
