"""A codec: reducers, then a quantizer. Pay once is `Codec.fit`, pay per document `FittedCodec`."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.codec_check import check_codec, check_head
from attar.retrieval.codec_file import dump, load
from attar.retrieval.inputs import as_vectors
from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.reducer import FittedReducer, Reducer, State
from attar.retrieval.spec import parse_spec
from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Float32, Query


@dataclass(frozen=True)
class Codec:
    """An unfitted codec: a frozen recipe. `Codec.parse(str(codec)) == codec`."""

    reducers: tuple[Reducer, ...]
    quantizer: Quantizer

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read a spec string such as `pca50%+float8_e4m3`; an unknown part lists the known ones."""
        return cls(*parse_spec(spec))

    def __str__(self) -> str:
        return "+".join([*map(str, self.reducers), str(self.quantizer)])

    @property
    def spec(self) -> str:
        """The canonical spec string."""
        return str(self)

    @property
    def learns(self) -> bool:
        """Whether `fit` learns anything beyond the dimension."""
        return bool(self.reducers) or self.quantizer.learns

    def min_rows(self, dim: int) -> int:
        """Documents of dimension d that `fit` needs at least."""
        needed = []
        for reducer in self.reducers:
            needed.append(reducer.min_rows(dim))
            dim = reducer.width(dim)
        return max(*needed, 1, self.quantizer.min_rows(dim))

    def fit(self, x: ArrayLike, queries: ArrayLike | None = None, seed: int = 0) -> "FittedCodec":
        """Fit on documents [n d]; returns a frozen codec. Neither array is changed.

        x: any real dtype and strides, finite; rows need not be unit vectors. queries: sample
        queries [m d] for codecs that weigh dimensions by what queries look at. seed: of every
        random draw.
        Raises ValueError with the rule, the value and the remedy: too few rows, NaN, wrong shape.
        """
        documents = as_vectors(x, "documents")
        n, dim = documents.shape
        if n == 0:
            raise ValueError("A codec is fitted on at least one document, got none; pass some.")
        sample = None if queries is None else as_vectors(queries, "queries", dim)
        norm = _typical_norm(documents)
        fitted: list[FittedReducer] = []
        for reducer in self.reducers:
            fitted.append(reducer.fit(documents, seed))
            documents = fitted[-1].transform(documents)
            sample = None if sample is None else fitted[-1].prepare(sample).coords
        if n < self.quantizer.min_rows(documents.shape[1]):
            raise ValueError(
                f"{self.quantizer} needs at least "
                f"{self.quantizer.min_rows(documents.shape[1])} training vectors, got {n}; "
                "add documents, or use a codec that learns nothing, such as int8."
            )
        quantizer = self.quantizer.fit(documents, FitContext(dim, sample, seed))
        return FittedCodec(self, dim, norm, seed, tuple(fitted), quantizer)


@dataclass(frozen=True, eq=False)
class FittedCodec:
    """Documents to bytes, queries to prepared floats; estimates inner products.

    Frozen; `FittedCodec.load(codec.dump())` gives the same codes and scores, bit for bit.
    """

    recipe: Codec
    dim: int
    norm: float
    seed: int
    reducers: tuple[FittedReducer, ...]
    quantizer: FittedQuantizer

    def __str__(self) -> str:
        return str(self.recipe)

    @property
    def spec(self) -> str:
        """The canonical spec string."""
        return str(self.recipe)

    @property
    def parts(self) -> tuple[FittedReducer | FittedQuantizer, ...]:
        """Reducers and quantizer, in the order in which documents pass them."""
        return (*self.reducers, self.quantizer)

    @property
    def layout(self) -> Layout:
        """Which bytes a document has and what they mean."""
        return self.quantizer.layout

    @property
    def bytes_per_vector(self) -> int:
        """All bytes per document: codes, scales, corrections."""
        return self.layout.bytes_per_vector

    @property
    def side_bytes(self) -> int:
        """Bytes paid once per store: basis, mean, levels, ranges."""
        return sum(array.nbytes for part in self.parts for array in part.state().values())

    def encode(self, x: ArrayLike) -> Codes:
        """Documents [n d] to codes. x is not changed."""
        return self.quantizer.encode(self._reduce(as_vectors(x, "documents", self.dim)))

    def decode(self, codes: Codes) -> Float32:
        """Codes to documents float32 [n d], approximately."""
        z = self.quantizer.decode(codes)
        for reducer in reversed(self.reducers):
            z = reducer.inverse(z)
        return z

    def prepare(self, q: ArrayLike) -> Query:
        """Queries [m d] to what the score formula needs (see `attar.stores.score`)."""
        coords = as_vectors(q, "queries", self.dim)
        const = np.zeros(len(coords), np.float32)
        for part in self.parts:
            query = part.prepare(coords)
            coords, const = query.coords, const + query.const
        return Query(np.ascontiguousarray(coords, np.float32), const.astype(np.float32))

    def dump(self) -> bytes:
        """The bytes of a safetensors file; the same bytes every time."""
        head = {"spec": self.spec, "dim": self.dim, "norm": self.norm, "seed": self.seed}
        return dump(head, [part.state() for part in self.parts])

    @classmethod
    def load(cls, content: bytes) -> "FittedCodec":
        """Read what `dump` wrote; anything else is a ValueError, nothing is ever unpickled."""
        head, states = load(content)
        try:
            check_head(head["dim"], head["norm"])
            with np.errstate(all="ignore"):
                codec = cls._restored(head, states)
                check_codec(codec)
        except ImportError:
            raise  # of a library that this codec needs: says which, and how to get it
        except Exception as error:
            # numpy, torch and faiss find many ways to say that an array is not what was written.
            raise ValueError(
                f"This codec file does not hold what {head['spec']!r:.80} needs ({error!r:.200}); "
                "restore it from a backup or build the store again."
            ) from error
        return codec

    @classmethod
    def _restored(cls, head: dict[str, Any], states: list[State]) -> "FittedCodec":
        recipe = Codec.parse(head["spec"])
        width: int = head["dim"]
        reducers: list[FittedReducer] = []
        for reducer, state in zip(recipe.reducers, states, strict=False):
            reducers.append(reducer.restore(width, state))
            width = reducers[-1].width
        quantizer = recipe.quantizer.restore(width, states[len(reducers)])
        return cls(recipe, head["dim"], head["norm"], head["seed"], tuple(reducers), quantizer)

    def _reduce(self, x: Float32) -> Float32:
        for reducer in self.reducers:
            x = reducer.transform(x)
        return x


def _typical_norm(x: Float32) -> float:
    """Root mean square of the norms; exactly 1 for what an encoder calls normalised."""
    norm = float(np.sqrt(np.mean(np.einsum("nd,nd->n", x, x, dtype=np.float64))))
    return 1.0 if norm == 0 or abs(norm - 1) < 1e-3 else norm
