"""Vectors with a decaying spectrum and clusters, seeded; the same numbers for every run.

Coordinates in the principal basis: a cluster's centre plus a document's own part, both Gaussian
with variances l_j ~ (j + 60)^-2.1, 45 % of the variance in the centres; then a random rotation and
unit norm. In 768 dimensions the leading 64 / 128 / 192 / 256 / 384 hold .58 / .76 / .84 / .89 /
.94 of the variance. 1,000 clusters, sizes ~ 1 / rank (Zipf). Half of the queries are a document
plus .8 of its length in noise of the same spectrum, half are fresh draws.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIM = 768
CLUSTERS = 1000
SHARED = 0.45
BLOCK = 16_384

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """What documents and queries are drawn from."""

    deviation: Float32
    rotation: Float32
    centres: Float32
    sizes: NDArray[np.float64]

    def draw(self, n: int, rng: np.random.Generator) -> Float32:
        """Draw n unit vectors [n 768]."""
        cluster = rng.choice(len(self.sizes), n, p=self.sizes)
        own = rng.standard_normal((n, DIM), np.float32) * self.deviation
        return unit((self.centres[cluster] + np.sqrt(1 - SHARED) * own) @ self.rotation)

    def noise(self, n: int, rng: np.random.Generator) -> Float32:
        """Draw n unit vectors of the same spectrum without clusters."""
        own = rng.standard_normal((n, DIM), np.float32) * self.deviation
        return unit(own @ self.rotation)


def unit(x: Float32) -> Float32:
    """Rows scaled to length one."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def world(seed: int = 0) -> World:
    """Spectrum, rotation and cluster centres."""
    rng = np.random.default_rng(seed)
    variance = (np.arange(DIM) + 60.0) ** -2.1
    deviation = np.sqrt(variance / variance.sum()).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.standard_normal((DIM, DIM)))
    centres = rng.standard_normal((CLUSTERS, DIM), np.float32) * deviation * np.sqrt(SHARED)
    sizes = 1 / np.arange(1, CLUSTERS + 1)
    return World(
        deviation, rotation.astype(np.float32), centres.astype(np.float32), sizes / sizes.sum()
    )


def documents(n: int, folder: Path, seed: int = 0) -> Float32:
    """The first n documents [n 768], made once and memory-mapped from `folder`."""
    path = folder / f"documents_{n}_{seed}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part.npy")
        made = np.lib.format.open_memmap(half, "w+", np.float32, (n, DIM))
        source = world(seed)
        for block, start in enumerate(range(0, n, BLOCK)):
            rng = np.random.default_rng((seed, 1, block))
            part = source.draw(BLOCK, rng)
            made[start : start + BLOCK] = part[: n - start]
        made.flush()
        half.rename(path)
    return np.load(path, mmap_mode="r")


def queries(m: int, docs: Float32, seed: int = 0) -> Float32:
    """Draw m queries [m 768] for these documents."""
    source, rng = world(seed), np.random.default_rng((seed, 2))
    near = m // 2
    chosen = np.sort(rng.choice(len(docs), near, replace=False))
    close = unit(docs[chosen] + np.float32(0.8) * source.noise(near, rng))
    both = np.concatenate([close, source.draw(m - near, rng)])
    return both[rng.permutation(m)]
