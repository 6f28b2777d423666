"""The adapters under test, and pairs to fit them on."""

import numpy as np

from attar.retrieval.compat.choosing import ADAPTERS as ADAPTERS

RNG = 7


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def clusters(n: int, dim: int, seed: int = RNG) -> np.ndarray:
    """Unit vectors around 20 centres, off the origin as real encoders' are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim)) + 0.3
    return unit(centres[rng.integers(0, 20, n)] + 0.7 * rng.standard_normal((n, dim)))


def turned(x: np.ndarray, dim: int, seed: int = RNG) -> np.ndarray:
    """The same geometry in `dim` dimensions, at least as many."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return np.asarray(x @ turn[: x.shape[1]], np.float32)
