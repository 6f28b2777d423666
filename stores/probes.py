"""Eight fixed texts that tell two encoders apart, and the comparison of their vectors.

The texts are part of the format: a store keeps the vectors that its encoder gave them, so changing
one needs a new format version.
"""

from typing import Any

import numpy as np

from attar.stores.errors import EncoderMismatchError
from attar.stores.protocols import Encoder
from attar.stores.types import Float32

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "How do vaccines train the immune system?",
    "def add(a, b):\n    return a + b",
    "Der Zug nach München hat heute zwanzig Minuten Verspätung.",
    "In 1969 two people walked on the Moon; 600 million watched.",
    "Quarterly revenue fell 3.2% while costs rose.",
    "猫が窓の外の鳥を見ている。",
    "A short legal notice: all rights reserved.",
)

LEAST_COSINE = 0.999


def probe_vectors(encoder: Encoder) -> Float32:
    """Vectors float32 [8 d] of the probe texts, encoded as documents."""
    return np.ascontiguousarray(encoder.encode_documents(list(PROBES)), np.float32)


def check_encoder(encoder: Encoder, fingerprint: str, name: str, probes: Float32 | None) -> None:
    """Refuse an encoder that is not the store's: by fingerprint, then by its probe vectors.

    An empty `fingerprint` (a store of bare arrays) is not compared.
    """
    remedy = (
        "Attach the store's own encoder, or change the store's model: `attar upgrade DIR --to NAME "
        "--dry-run` measures whether that pays."
    )
    if fingerprint and encoder.fingerprint != fingerprint:
        raise EncoderMismatchError(
            f"A store answers only queries of the encoder that made it ({name or 'unnamed'}, "
            f"fingerprint {fingerprint}), got {encoder.name} with {encoder.fingerprint}. {remedy}"
        )
    if probes is None:
        return
    got = probe_vectors(encoder)
    if got.shape != probes.shape:
        raise EncoderMismatchError(
            f"The encoder of this store ({name}) gives {probes.shape[1]} dimensions, "
            f"{encoder.name} gives {got.shape[-1]}. {remedy}"
        )
    cosine = float(np.min(row_cosines(got, probes)))
    if not cosine >= LEAST_COSINE:
        raise EncoderMismatchError(
            f"Probe texts must get the vectors they got when the store was made by {name} "
            f"(cosine >= {LEAST_COSINE}); {encoder.name} gives {cosine:.4f}. {remedy}"
        )


def check_not_next(encoder: Encoder, upgrade: dict[str, Any] | None) -> None:
    """Refuse, alone, the encoder that an upgrade under way leads to."""
    if upgrade and encoder.fingerprint and encoder.fingerprint == upgrade["fingerprint"]:
        raise EncoderMismatchError(
            f"This store is being upgraded to {encoder.name}, and until that is committed a search "
            "needs what the bridge needs: open it with the old encoder, as before, or search "
            "through attar.retrieval.compat.Upgrade. `attar upgrade DIR` goes on, --commit ends it."
        )


def row_cosines(a: Float32, b: Float32) -> Float32:
    """Cosine of each row of a [n d] with the same row of b; NaN where a row is zero."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(wide_a, axis=1) * np.linalg.norm(wide_b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((wide_a * wide_b).sum(axis=1) / norms, np.float32)
