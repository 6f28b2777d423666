"""RaBitQ codes as faiss writes them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.layouts.packing import packed_bytes, unpack_bits
from attar.stores.types import Codes, Field, Float32, Levels


@dataclass(frozen=True)
class RaBitQCodes(Layout):
    """One field `code`, the bytes of faiss' IndexRaBitQ (metric inner product) for one document.

        bits = 1   ceil(e/8) sign bits | float32 a, f
        bits > 1   ceil(e/8) sign bits | 12 bytes for faiss' own first pass |
                   ceil(e (bits-1)/8) bits x | float32 a, f

    With sign bit s_j and extra code x_j, the level is v_j = (2 s_j - 1) / sqrt(e) for one bit, else
    v_j = 2^(bits-1) s_j + x_j - (2^(bits-1) - 1/2). The estimate of <q, o> about the centroid c is
    <q, c> + b + f <q - c, v>, where b = -(a + |c|^2) / 2 for one bit, else b = a. Since b belongs
    to the document, it is level number e + 1, b / f, and prepared queries end with a one. (faiss'
    own decoder reads the sign bits only.) Bytes per vector: what the scheme adds up to.

    center_square: |c|^2.
    """

    width: int
    bits: int
    center_square: float

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`, and one for the document's own term."""
        return self.width + 1

    @property
    def fields(self) -> tuple[Field, ...]:
        """`code` uint8."""
        tail = 8 if self.bits == 1 else 12 + packed_bytes(self.width, self.bits - 1) + 8
        return (Field("code", "uint8", packed_bytes(self.width, 1) + tail),)

    def unpack(self, codes: Codes) -> Levels:
        """Levels [n width + 1] and the factor f of each document."""
        code = np.ascontiguousarray(codes.fields["code"].astype(np.uint8, copy=False))
        signs = packed_bytes(self.width, 1)
        v: Float32 = unpack_bits(code[:, :signs], 1, self.width).astype(np.float32)
        tail = np.ascontiguousarray(code[:, -8:]).view(np.float32)
        own, factor = tail[:, 0], tail[:, 1].copy()
        if self.bits == 1:
            v = (v * np.float32(2) - np.float32(1)) / np.float32(np.sqrt(self.width))
            own = -(own + np.float32(self.center_square)) / np.float32(2)
        else:
            half = 2 ** (self.bits - 1)
            extra = unpack_bits(code[:, signs + 12 : -8], self.bits - 1, self.width)
            v = v * np.float32(half) + extra.astype(np.float32) - np.float32(half - 0.5)
        return Levels(self._with_own_term(v, own, factor), factor)

    def _with_own_term(self, v: Float32, own: Float32, factor: Float32) -> Float32:
        # A document at the centroid has f = 0 and nothing to add.
        last = np.divide(own, factor, out=np.zeros_like(own), where=factor != 0)
        return np.concatenate([v, last[:, None]], axis=1)

    def describe(self) -> dict[str, Any]:
        """Name and parameters."""
        return {
            "layout": "rabitq",
            "width": self.width,
            "bits": self.bits,
            "center_square": self.center_square,
        }
