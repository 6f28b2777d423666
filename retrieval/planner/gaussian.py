"""The Gaussian rate-distortion curve: what a code without structure to exploit could reach.

Reverse water-filling (Cover and Thomas, Elements of Information Theory, theorem 10.3.3): with
variances l_j and the water level t, the rate is sum_j max(0, 1/2 log2(l_j / t)) bits and the error
sum_j min(t, l_j). The forward test channel that reaches it, y = (1 - t / l) z + sqrt(t (1 - t / l))
noise, is applied to the sample, in the metric of `weighted_transform`. For squared error a Gaussian
is the worst source of its covariance, so that the curve is a yardstick and no hard bound.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.weighted_transform import weighted_transform
from attar.stores.types import Float32

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianChannel:
    """Fitted to documents float32 [n d]; `coded(bytes)` is what they look like at that rate."""

    mean: Float64
    coords: Float64
    synthesis: Float64
    variance: Float64

    def coded(self, nbytes: float, seed: int) -> Float32:
        """Documents [n d] after the test channel with `nbytes` bytes a vector."""
        level = water_level(self.variance, 8 * nbytes)
        kept = np.maximum(0.0, 1 - level / self.variance)
        noise = np.random.default_rng(seed).standard_normal(self.coords.shape)
        received = kept * self.coords + np.sqrt(level * kept) * noise
        return (received @ self.synthesis.T + self.mean).astype(np.float32)


def gaussian_channel(documents: Float32) -> GaussianChannel:
    """Basis and spectrum of documents [n d]."""
    transform = weighted_transform(documents, None)
    coords = (documents.astype(np.float64) - transform.mean) @ transform.analysis
    return GaussianChannel(transform.mean, coords, transform.synthesis, transform.variance)


def water_level(variance: Float64, bits: float) -> float:
    """The level t at which reverse water-filling spends `bits` > 0 bits, by bisection."""
    if bits <= 0:
        raise ValueError(f"A rate is above 0 bits, got {bits}; ask for at least one.")
    low, high = np.log2(variance.min()) - 2 * bits, np.log2(variance.max())
    logs = np.log2(variance)
    for _ in range(100):
        middle = (low + high) / 2
        spent = np.maximum(0.0, (logs - middle) / 2).sum()
        low, high = (middle, high) if spent > bits else (low, middle)
    return float(2.0**high)
