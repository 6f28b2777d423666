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
    """Send a document and a query there and a code back, part by part; look at the shapes."""
    for part in codec.parts:
        for name, array in part.state().items():
            if array.dtype.kind == "f" and not (np.abs(array) <= LARGEST).all():
                raise ValueError(f"{name} holds numbers that are not finite, or above {LARGEST:g}")
    layout = codec.layout
    if not 1 <= layout.dim <= MOST_DIMENSIONS or layout.bytes_per_vector > 16 * MOST_DIMENSIONS:
        raise ValueError(f"a layout of {layout.dim} columns, {layout.bytes_per_vector} bytes")
    z = np.full((1, codec.dim), codec.norm / codec.dim**0.5, np.float32)
    for reducer in codec.reducers:
        if reducer.heavy:
            z = np.full((1, reducer.width), codec.norm / reducer.width**0.5, np.float32)
            continue
        reduced = reducer.transform(z)
        _same_shapes(reducer, reduced, (1, reducer.width))
        _same_shapes(reducer, reducer.prepare(z).coords, reduced.shape)
        _same_shapes(reducer, reducer.inverse(reduced), z.shape)
        z = reduced
    codes = Codes({f.name: np.zeros((1, f.width), f.dtype) for f in layout.fields})
    _same_shapes(codec.quantizer, layout.unpack(codes).y, (1, layout.dim))
    _same_shapes(codec.quantizer, codec.quantizer.prepare(z).coords, (1, layout.dim))
    _same_shapes(codec.quantizer, codec.quantizer.decode(codes), z.shape)
    encoded = codec.quantizer.encode(z)
    for field in layout.fields:
        found = np.asarray(encoded.fields[field.name])
        if found.shape != (1, field.width) or found.dtype.name != field.dtype:
            raise ValueError(f"{field.name} is {found.dtype.name} {found.shape}")


def _same_shapes(part: object, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{type(part).__name__} gives {array.shape} instead of {shape}")
