"""Codes of a faiss index, decoded by faiss: product quantizers, EDEN, scalar quantizers."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Field, Levels


@dataclass(frozen=True)
class FaissCodes(Layout):
    """Field `code`: the bytes of the index' `sa_encode`; the levels are its `sa_decode`.

    content: the empty trained index, `faiss.serialize_index(index).tobytes()`; code_size: its
    bytes per document. With `scaled`, `factor` (float16) multiplies the levels, for indexes that
    take unit vectors only. Bytes per vector: code_size + (2 if scaled).
    """

    content: bytes
    width: int
    code_size: int
    scaled: bool = False

    @cached_property
    def index(self) -> Any:
        """The faiss index."""
        import faiss

        return faiss.deserialize_index(np.frombuffer(self.content, np.uint8))

    @property
    def dim(self) -> int:
        """Columns of the levels: `width`."""
        return self.width

    @property
    def fields(self) -> tuple[Field, ...]:
        """`code` uint8, and `factor` (float16) when scaled."""
        code = Field("code", "uint8", self.code_size)
        return (code, Field("factor", "float16", 1)) if self.scaled else (code,)

    def unpack(self, codes: Codes) -> Levels:
        """Decode by faiss; the factor is the vector's, or one."""
        code = np.ascontiguousarray(codes.fields["code"], np.uint8)
        y = self.index.sa_decode(code) if len(code) else np.zeros((0, self.width), np.float32)
        if self.scaled:
            return Levels(y, codes.fields["factor"][:, 0].astype(np.float32))
        return Levels(y, np.ones(len(y), np.float32))

    def describe(self) -> dict[str, Any]:
        """Name, parameters, and the hash of the index."""
        return {
            "layout": "faiss",
            "width": self.width,
            "code_size": self.code_size,
            "scaled": self.scaled,
            "index": hashlib.sha256(self.content).hexdigest(),
        }
