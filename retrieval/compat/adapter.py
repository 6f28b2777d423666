"""What all adapters share: fitted on pairs, applied to vectors, written as one file."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.inputs import as_vectors
from attar.stores.types import Float32

FORMAT = 1
LEAST_PAIRS = 32
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class FittedAdapter(ABC):
    """A map from one encoder's space to another's.

    Laws: `apply` does not change its input and gives unit rows; `load_adapter(dump())` gives equal
    outputs, bit for bit.
    """

    kind: ClassVar[str]
    state: State

    @property
    def spec(self) -> str:
        """Name of the method, for the catalog."""
        return f"adapter:{self.kind}"

    @property
    def source_dim(self) -> int:
        """Dimensions that go in."""
        return len(self.state["source_mean"])

    @property
    def target_dim(self) -> int:
        """Dimensions that come out."""
        return len(self.state["target_mean"])

    @property
    def side_bytes(self) -> int:
        """Bytes of the parameters."""
        return sum(array.nbytes for array in self.state.values())

    def apply(self, x: ArrayLike) -> Float32:
        """Vectors [n d] of the source space to unit vectors float32 [n e] of the target space."""
        rows = as_vectors(x, "vectors", self.source_dim)
        return unit_rows(self.moved(unit_rows(rows)))

    @abstractmethod
    def moved(self, x: Float32) -> Float32:
        """Unit rows [n d] to rows [n e] of any length."""

    @abstractmethod
    def back(self, q: ArrayLike) -> Float32:
        """Queries [m e] of the target space as queries [m d] for documents that are not mapped.

        <q, x W> = <q W^T, x> for a linear map, so that the rows that `apply` would bring near q can
        be looked up without mapping them all; up to the lengths that `apply` evens out.
        """

    def dump(self) -> bytes:
        """The bytes of a safetensors file, the same every time."""
        from safetensors.numpy import save

        head = json.dumps({"format": FORMAT, "kind": self.kind}, sort_keys=True)
        tensors = {name: np.ascontiguousarray(array) for name, array in self.state.items()}
        return bytes(save(tensors, {"attar-adapter": head}))


def unit_rows(x: Float32) -> Float32:
    """Rows [n d] divided by their lengths; zero rows stay zero."""
    norms = np.sqrt(np.einsum("nd,nd->n", x, x))
    return np.asarray(x / np.maximum(norms, np.float32(1e-12))[:, None], np.float32)


class Adapter(ABC):
    """An unfitted adapter: a frozen description."""

    @abstractmethod
    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedAdapter:
        """Fit on pairs: source [n d] and target [n e], row by row the same text."""


@dataclass(frozen=True)
class Pairs:
    """Checked, unit, centred pairs: x [n d], y [n e], and the means that were taken off."""

    x: Float32
    y: Float32
    source_mean: Float32
    target_mean: Float32

    @property
    def means(self) -> State:
        """The two means, as every fitted adapter keeps them."""
        return {"source_mean": self.source_mean, "target_mean": self.target_mean}


def as_pairs(source: ArrayLike, target: ArrayLike) -> Pairs:
    """Check, scale and centre pairs.

    Queries have another mean than documents; a bridge that is fitted on documents moves both by the
    documents' means.
    """
    x, y = as_vectors(source, "source"), as_vectors(target, "target")
    if len(x) != len(y) or len(x) < LEAST_PAIRS:
        raise ValueError(
            f"An adapter is fitted on pairs, row by row the same text, at least {LEAST_PAIRS}; got "
            f"{len(x)} and {len(y)}. Embed more documents with both models, or use rescoring, "
            "which needs no pairs."
        )
    x, y = _unit(x, "source"), _unit(y, "target")
    a, b = x.mean(axis=0), y.mean(axis=0)
    return Pairs(x - a, y - b, a, b)


def _unit(x: Float32, what: str) -> Float32:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not norms.all():
        row = int(np.argmin(norms))
        raise ValueError(f"{what} has a zero vector in row {row}; leave that pair out.")
    return np.asarray(x / norms, np.float32)


def load_adapter(content: bytes) -> FittedAdapter:
    """Read what `dump` wrote; anything else is a ValueError, nothing is ever unpickled."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from attar.retrieval.compat.kronecker import FittedKronecker
    from attar.retrieval.compat.low_rank_affine import FittedLowRank
    from attar.retrieval.compat.procrustes import FittedProcrustes
    from attar.retrieval.compat.residual_mlp import FittedResidualMLP
    from attar.retrieval.compat.ridge import FittedRidge

    classes = (FittedRidge, FittedProcrustes, FittedLowRank, FittedResidualMLP, FittedKronecker)
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        head = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["attar-adapter"])
        known = {each.kind: each for each in classes}
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']!r} instead of {FORMAT}")
        return known[head["kind"]](tensors)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"An adapter file is a safetensors file with an 'attar-adapter' header, got {error}; "
            "fit the adapter again."
        ) from error
