"""Numbers of two bytes and more, lossless for any bit pattern.

The bits of a floating-point number are rotated left by one, so that its exponent fills the highest
byte (bfloat16, float32) or most of it (float16): that byte is a symbol column per dimension, the
idea of DFloat11 (arXiv 2504.11651) with one table per dimension. The other bytes, nearly random,
go through zstd where that helps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.archive.columns import Arrays, Columns
from attar.retrieval.archive.tables import Symbols
from attar.stores.types import Field

ROTATED = frozenset({"float16", "float32", "float64", "uint16"})
"""uint16 is how layouts store bfloat16."""


@dataclass(frozen=True)
class HighBytes(Columns):
    """The highest byte of each number, rotated, as symbols."""

    fields: tuple[Field, ...]

    @property
    def count(self) -> int:
        """Dimensions of the field."""
        return self.fields[0].width

    def split(self, arrays: Arrays) -> Symbols:
        """The highest bytes."""
        return _bytes_of(arrays[self.fields[0].name], self.fields[0])[-1].T.astype(np.int32)

    def merge(self, symbols: Symbols) -> Arrays:
        """Not the numbers yet: see `joined`."""
        return {self.fields[0].name: np.ascontiguousarray(symbols.T).astype(np.uint8)}


def low_bytes(array: NDArray[np.generic], field: Field) -> list[bytes]:
    """The other bytes, lowest first, each [width n] (a dimension's bytes lie together)."""
    return [np.ascontiguousarray(plane.T).tobytes() for plane in _bytes_of(array, field)[:-1]]


def joined(high: NDArray[np.uint8], low: list[bytes], field: Field) -> NDArray[np.generic]:
    """Numbers [n width] of their highest bytes [n width] and the output of `low_bytes`."""
    size = np.dtype(field.dtype).itemsize
    planes = np.empty((*high.shape, size), np.uint8)
    planes[..., -1] = high
    for place, content in enumerate(low):
        planes[..., place] = np.frombuffer(content, np.uint8).reshape(high.shape[::-1]).T
    bits = planes.view(f"<u{size}")[..., 0]
    if field.dtype in ROTATED:
        bits = (bits >> np.uint8(1)) | (bits << np.uint8(8 * size - 1))
    return np.ascontiguousarray(bits).view(np.dtype(field.dtype).newbyteorder("<"))


def _bytes_of(array: NDArray[np.generic], field: Field) -> list[NDArray[np.uint8]]:
    """Bytes of the (rotated) numbers, lowest first, each [n width]."""
    size = np.dtype(field.dtype).itemsize
    bits = np.ascontiguousarray(array).view(f"<u{size}")
    if field.dtype in ROTATED:
        bits = (bits << np.uint8(1)) | (bits >> np.uint8(8 * size - 1))
    planes = np.ascontiguousarray(bits).view(np.uint8).reshape(*array.shape, size)
    return [planes[..., place] for place in range(size)]
