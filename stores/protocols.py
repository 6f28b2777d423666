"""What a store needs of a codec and of an encoder. Other rooms implement them; none is imported."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Float32, Query


@runtime_checkable
class Codec(Protocol):
    """A fitted codec: documents to bytes, queries to prepared floats. It estimates inner products.

    Laws: `decode(encode(x))` is within the codec's bound of x; `layout.unpack(encode(x))` together
    with `prepare(q)` gives `score(q, x)`, an estimate of <q, x>; `load(dump())` is equal.
    """

    @property
    def spec(self) -> str:
        """Canonical spec string; parsing it gives the recipe of this codec again."""

    @property
    def dim(self) -> int:
        """Dimensions d of the vectors that go in."""

    @property
    def norm(self) -> float:
        """Typical (RMS) norm of the documents of `fit`; a cosine store scales documents to it."""

    @property
    def layout(self) -> Layout:
        """How the bytes of a document give its levels."""

    @property
    def bytes_per_vector(self) -> int:
        """All bytes per document: codes, scales, corrections."""

    @property
    def side_bytes(self) -> int:
        """Bytes that are paid once per store: basis, levels, codebooks."""

    def encode(self, x: Float32) -> Codes:
        """Documents float32 [n d] to codes; x is not changed."""

    def decode(self, codes: Codes) -> Float32:
        """Codes to documents float32 [n d], approximately."""

    def prepare(self, q: Float32) -> Query:
        """Queries float32 [m d] to what the score formula needs. Queries stay float."""

    def dump(self) -> bytes:
        """The fitted codec as the bytes of a safetensors file, the same bytes every time."""


@runtime_checkable
class Recipe(Protocol):
    """An unfitted codec: a frozen description with a canonical spec string."""

    @property
    def spec(self) -> str:
        """Canonical spec string."""

    def min_rows(self, dim: int) -> int:
        """Documents of dimension d that `fit` needs at least; 1 when nothing is learned."""

    @property
    def learns(self) -> bool:
        """Whether `fit` learns anything beyond the dimension."""

    def fit(self, x: Float32, queries: Float32 | None = None, seed: int = 0) -> Codec:
        """Fit on documents float32 [n d] (and sample queries [m d]); returns a frozen codec."""


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors. `fingerprint` names the numbers, `name` is for display."""

    @property
    def name(self) -> str:
        """For display, and for making the encoder again (`attar.encoder(name)`)."""

    @property
    def dim(self) -> int:
        """Dimensions d of the vectors."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer, pooling, normalisation, maximum tokens and prompts."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Documents to float32 [n d]."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Queries to float32 [m d]."""
