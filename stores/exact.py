"""The codec that stores use while theirs is not fitted yet: float32, as it came."""

from typing import Any

import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Field, Float32, Levels, Query

EXACT = "exact"
"""What the catalog writes in place of a codec's hash."""


class ExactLayout(Layout):
    """One field `x` of d float32: 4d bytes per vector."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    @property
    def dim(self) -> int:
        """Columns of the levels, d."""
        return self._dim

    @property
    def fields(self) -> tuple[Field, ...]:
        """The one field."""
        return (Field("x", "float32", self._dim),)

    def unpack(self, codes: Codes) -> Levels:
        """The vectors themselves, factor 1."""
        y = np.asarray(codes.fields["x"], np.float32)
        return Levels(y, np.ones(len(y), np.float32))

    def describe(self) -> dict[str, Any]:
        """Name and dimension."""
        return {"layout": EXACT, "dim": self._dim}


class ExactCodec:
    """Documents [n d] in, the same documents out; satisfies `protocols.Codec`."""

    spec = "float32"
    norm = 1.0
    side_bytes = 0

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.layout: Layout = ExactLayout(dim)
        self.bytes_per_vector = self.layout.bytes_per_vector

    def encode(self, x: Float32) -> Codes:
        """A copy of x [n d] as codes."""
        return Codes({"x": np.array(x, np.float32)})

    def decode(self, codes: Codes) -> Float32:
        """The documents [n d]."""
        return np.asarray(codes.fields["x"], np.float32)

    def prepare(self, q: Float32) -> Query:
        """Queries [m d] as they are, const 0."""
        return Query(np.ascontiguousarray(q, np.float32), np.zeros(len(q), np.float32))

    def dump(self) -> bytes:
        """Nothing was fitted, so there is nothing to write."""
        return b""
