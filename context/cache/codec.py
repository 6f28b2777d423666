"""How cached embeddings are stored: a small Protocol, and two codecs that need no fitting."""

from dataclasses import dataclass
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Codec(Protocol):
    """Vectors to bytes and back. Law: `decode(encode(decode(encode(x)))) == decode(encode(x))`."""

    @property
    def name(self) -> str:
        """Identify the codec in a file; two codecs of one name read each other's bytes."""
        ...

    def bytes_per_vector(self, dim: int) -> int:
        """Return the size of one vector's code, scales included."""
        ...

    def encode(self, x: Floats) -> Codes:
        """[n d] -> [n bytes]."""
        ...

    def decode(self, codes: Codes, dim: int) -> Floats:
        """[n bytes] -> [n d]."""
        ...


@dataclass(frozen=True)
class Float16:
    """Half precision, 2 d bytes per vector; values beyond ±65504 are clipped."""

    name: str = "float16"

    def bytes_per_vector(self, dim: int) -> int:
        """Return 2 d."""
        return 2 * dim

    def encode(self, x: Floats) -> Codes:
        """[n d] -> [n 2d]."""
        half = np.clip(x, -65504, 65504).astype(np.float16)
        return np.ascontiguousarray(half).view(np.uint8).reshape(len(x), 2 * x.shape[1])

    def decode(self, codes: Codes, dim: int) -> Floats:
        """[n 2d] -> [n d]."""
        return np.ascontiguousarray(codes).view(np.float16).reshape(-1, dim).astype(np.float32)


@dataclass(frozen=True)
class Float8:
    """float8_e4m3fn with one float32 scale per vector, a power of two: d + 4 bytes per vector.

    A power of two maps the largest value into (224, 448]; decoding and encoding again gives the
    same bytes.
    """

    name: str = "float8_e4m3:scaled"

    def bytes_per_vector(self, dim: int) -> int:
        """Return d + 4."""
        return dim + 4

    def encode(self, x: Floats) -> Codes:
        """[n d] -> [n d+4]: the scale, then the values."""
        largest = np.abs(x).max(axis=1, initial=0.0)
        with np.errstate(divide="ignore"):
            power = np.where(largest > 0, np.ceil(np.log2(largest / 448)), 0.0)
        scale = np.exp2(power).astype(np.float32)
        values = np.clip(x / scale[:, None], -448, 448).astype(ml_dtypes.float8_e4m3fn)
        head = scale[:, None].view(np.uint8).reshape(len(x), 4)
        return np.concatenate([head, values.view(np.uint8)], axis=1)

    def decode(self, codes: Codes, dim: int) -> Floats:
        """[n d+4] -> [n d]."""
        scale = np.ascontiguousarray(codes[:, :4]).view(np.float32)
        values: Any = np.ascontiguousarray(codes[:, 4 : 4 + dim]).view(ml_dtypes.float8_e4m3fn)
        return np.asarray(values.astype(np.float32) * scale, dtype=np.float32)
