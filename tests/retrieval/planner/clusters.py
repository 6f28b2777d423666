"""Clustered vectors with a decaying spectrum: a corpus that can be drawn at any size."""

import numpy as np

DIM = 48


def draw(n: int, seed: int, world: int = 0) -> np.ndarray:
    """n unit vectors [n 48] of one world: 60 clusters with a spectrum j^-1."""
    fixed = np.random.default_rng(world)
    scale = np.arange(1, DIM + 1) ** -0.5
    centres = fixed.standard_normal((60, DIM)) * scale * 0.8
    rng = np.random.default_rng([seed, 7])
    x = centres[rng.integers(0, 60, n)] + rng.standard_normal((n, DIM)) * scale
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
