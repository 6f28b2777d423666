"""Embedding a batch with progress, at no more than the encoder's own cost."""

from collections.abc import Callable, Sequence

import numpy as np

from attar.stores.protocols import Encoder
from attar.stores.types import Float32

SLICE = 256
"""Texts handed to the encoder at once: small enough for a lively progress bar, several of any
encoder's own batches."""


def embed_documents(
    encoder: Encoder, texts: Sequence[str], on_slice: Callable[[int], None] | None = None
) -> Float32:
    """Embed texts to float32 [n d], longest first, `on_slice(count)` after every slice.

    Texts of like length share a slice, because a transformer pads a batch to its longest text.
    """
    order = sorted(range(len(texts)), key=lambda place: (-len(texts[place]), place))
    parts = []
    for start in range(0, len(order), SLICE):
        part = [texts[place] for place in order[start : start + SLICE]]
        parts.append(encoder.encode_documents(part))
        if on_slice is not None:
            on_slice(len(part))
    vectors = np.empty((len(texts), encoder.dim), np.float32)
    if parts:
        vectors[order] = np.concatenate(parts)
    return vectors
