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
    Method("pca24", 96, 1e-5),
    Method("pca50%+float8_e4m3", 12),
    Method("pca50%+int8", 14),
    Method("pca90%var+float16", 0),
]


def documents(n: int = 200, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Centred off the origin, correlated, with a decaying spectrum: what embeddings look like."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dim, dim)) * (np.arange(1, dim + 1) ** -0.7)[:, None]
    x = rng.normal(size=(n, dim)) @ mix + rng.normal(size=dim)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
