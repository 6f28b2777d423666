"""How far apart two encoders are, without labels: what they say about the same anchors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import LEAST_PAIRS, as_pairs
from attar.stores.types import Float32

UNRELATED = 0.15
"""A correlation below this is called unrelated; two good text encoders have .5 to .9."""

SHUFFLES = 20


@dataclass(frozen=True)
class AnchorDrift:
    """correlation: mean over documents, -1 to 1. chance: the largest that shuffled pairs reached.

    0 drift: the same space up to rotation and scale. 1: nothing in common.
    """

    correlation: float
    chance: float

    @property
    def drift(self) -> float:
        """1 - correlation."""
        return 1 - self.correlation

    @property
    def unrelated(self) -> bool:
        """Whether no map fitted on pairs can be expected to help."""
        return self.correlation < max(UNRELATED, 2 * self.chance)


def anchor_drift(
    old: ArrayLike, new: ArrayLike, *, anchors: int = 128, seed: int = 0
) -> AnchorDrift:
    """Compare old [n d] and new [n e], row by row the same texts, through k anchors.

    1. Draw k documents as anchors (at most half): ECR's idea that geometry is kept around anchors
       (arXiv 2601.00543).
    2. Describe every other document by its k cosines with them, in each space, all centred.
    3. Correlate the two descriptions of each document; the mean is the answer.
    """
    pairs = as_pairs(old, new)
    n = len(pairs.x)
    draw = np.random.default_rng(seed)
    order = draw.permutation(n)
    k = min(anchors, n // 2, max(n - LEAST_PAIRS, 8))
    chosen, rest = order[:k], order[k:]
    a = _described(pairs.x, chosen, rest)
    b = _described(pairs.y, chosen, rest)
    found = float((a * b).sum(axis=1).mean())
    shuffled = [
        abs(float((a * b[draw.permutation(len(b))]).sum(axis=1).mean())) for _ in range(SHUFFLES)
    ]
    return AnchorDrift(found, max(shuffled))


def _described(x: Float32, anchors: np.ndarray, rest: np.ndarray) -> Float32:
    """Unit rows of centred cosines [r k]."""
    scaled = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    cosines = scaled[rest] @ scaled[anchors].T
    cosines -= cosines.mean(axis=0)
    cosines -= cosines.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(cosines, axis=1, keepdims=True)
    return np.asarray(cosines / np.maximum(norms, 1e-12))
