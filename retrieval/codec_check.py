"""Whether the parts of a codec file belong together: files come from others, or damaged.

A file whose numbers are wrong cannot be told from another codec (a store compares its hash), but
one that is used must neither crash nor give arrays of other shapes than its layout says.
"""

from typing import TYPE_CHECKING

import numpy as np

from attar.stores.types import Codes

if TYPE_CHECKING:
    from attar.retrieval.codec import FittedCodec

MOST_DIMENSIONS = 1 << 20
LARGEST = 1e18
"""Squares of larger numbers leave float32; with some of them faiss' RaBitQ never ends."""


def check_head(dim: int, norm: float) -> None:
    """Refuse a dimension or a norm that no codec has, before arrays are made of them."""
    if isinstance(dim, bool) or not 1 <= dim <= MOST_DIMENSIONS:
        raise ValueError(f"a codec has 1 to {MOST_DIMENSIONS} dimensions, got {dim!r}")
    if not (np.isfinite(norm) and norm > 0):
        raise ValueError(f"a norm is positive and finite, got {norm!r}")


def check_codec(codec: "FittedCodec") -> None:
    """Send a query there and a code back through all parts, and look at what comes out."""
    for part in codec.parts:
        for name, array in part.state().items():
            if array.dtype.kind == "f" and not (np.abs(array) <= LARGEST).all():
                raise ValueError(f"{name} holds numbers that are not finite, or above {LARGEST:g}")
    layout = codec.layout
    if not 1 <= layout.dim <= MOST_DIMENSIONS or layout.bytes_per_vector > 16 * MOST_DIMENSIONS:
        raise ValueError(f"a layout of {layout.dim} columns, {layout.bytes_per_vector} bytes")
    codes = Codes({f.name: np.zeros((1, f.width), f.dtype) for f in layout.fields})
    levels = layout.unpack(codes).y.shape
    query = codec.prepare(np.ones((1, codec.dim), np.float32)).coords.shape
    document = codec.decode(codes).shape
    if levels != (1, layout.dim) or query != levels or document != (1, codec.dim):
        raise ValueError(
            f"documents of {codec.dim} dimensions give codes of {layout.dim}, but levels have the "
            f"shape {levels}, queries {query} and decoded documents {document}"
        )
    usual = np.full((1, codec.dim), codec.norm / codec.dim**0.5, np.float32)
    encoded = codec.encode(usual)
    for field in layout.fields:
        found = np.asarray(encoded.fields[field.name])
        if found.shape != (1, field.width) or found.dtype.name != field.dtype:
            raise ValueError(f"{field.name} is {found.dtype.name} {found.shape}")
