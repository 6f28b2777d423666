"""Text: a projection on a frozen encoder, trained to the simplex, so that versions stay compatible.

    simplex = DSimplex(2048).allocate(labels)
    first = SimplexHead().fit(x, labels, simplex)            # x [n d]: the frozen encoder's vectors
    store = attar.build_index(corpus, encoder=HeadedEncoder(encoder, first))
    ...
    second = SimplexHead(hidden=512).fit(more, labels, simplex.allocate(labels), old=first)

`second`'s queries search what `first` stored; nothing is embedded again.
"""

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.simplex import DSimplex
from attar.retrieval.extras import require
from attar.retrieval.inputs import as_vectors
from attar.stores.protocols import Encoder
from attar.stores.types import Float32

FORMAT = 1


@dataclass(frozen=True)
class FittedSimplexHead:
    """Features of frozen vectors: x W1, or x W1 + relu(x A + a) B with a hidden layer; unit rows.

    state: "w" [d K-1], and "a" [d h], "bias" [h], "b" [h K-1] with a hidden layer.
    """

    state: dict[str, Float32]

    @property
    def source_dim(self) -> int:
        """Dimensions of the frozen encoder."""
        return len(self.state["w"])

    @property
    def dim(self) -> int:
        """Dimensions of the features, K - 1."""
        return int(self.state["w"].shape[1])

    @cached_property
    def digest(self) -> str:
        """Tells two heads apart."""
        return hashlib.sha256(self.dump()).hexdigest()[:16]

    def apply(self, x: ArrayLike) -> Float32:
        """Vectors [n d] to unit features float32 [n K-1]."""
        rows = as_vectors(x, "vectors", self.source_dim)
        z = rows @ self.state["w"]
        if "a" in self.state:
            hidden = np.maximum(rows @ self.state["a"] + self.state["bias"], 0)
            z = z + hidden @ self.state["b"]
        return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))

    def dump(self) -> bytes:
        """The bytes of a safetensors file, the same every time."""
        from safetensors.numpy import save

        head = json.dumps({"format": FORMAT})
        tensors = {name: np.ascontiguousarray(array) for name, array in self.state.items()}
        return bytes(save(tensors, {"attar-simplex-head": head}))


def load_head(content: bytes) -> FittedSimplexHead:
    """Read what `dump` wrote; ValueError for anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(content[:8], "little")
        head = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["attar-simplex-head"])
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']!r} instead of {FORMAT}")
        return FittedSimplexHead(load(content))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            "A head's file is a safetensors file with an 'attar-simplex-head' header, got "
            f"{error}; fit the head again."
        ) from error


@dataclass(frozen=True)
class SimplexHead:
    """Fits a head by the HOC loss (arXiv 2405.02581, eq. 3) on the frozen encoder's vectors.

    1. W starts as orthonormal rows: the encoder's geometry, in K - 1 dimensions; with `old`, as the
       old head's W. A hidden layer starts at nothing.
    2. Adam on CE against the fixed vertices, and on the contrast with the old head's features.

    hidden: 0 for one matrix. share, mu: lambda and mu of the loss. scale: features are unit rows
    times this before CE, since vertices are unit rows.
    """

    hidden: int = 0
    steps: int = 300
    batch: int = 128
    rate: float = 3e-4
    share: float = 0.1
    mu: float = 10.0
    scale: float = 60.0

    def __post_init__(self) -> None:
        if self.hidden < 0 or self.steps < 1 or self.batch < 2 or not 0 <= self.share <= 1:
            raise ValueError(
                "hidden >= 0, steps >= 1, batch >= 2 and 0 <= share <= 1, got "
                f"{self.hidden}, {self.steps}, {self.batch} and {self.share}."
            )

    def fit(
        self,
        x: ArrayLike,
        labels: Sequence[Hashable],
        simplex: DSimplex,
        old: FittedSimplexHead | None = None,
        seed: int = 0,
    ) -> FittedSimplexHead:
        """Fit on vectors [n d] with a label each.

        Labels say what belongs together: a question and its document, or documents of one subject.
        ValueError when a label has no vertex, or `old` is of another simplex or encoder.
        """
        from attar.retrieval.compat.hoc_loss import hoc_loss

        torch = require("torch", "context")
        rows, targets = as_vectors(x, "vectors"), simplex.targets(labels)
        if len(rows) != len(targets) or not len(rows):
            raise ValueError(f"Every vector has a label; got {len(rows)} and {len(targets)}.")
        if old is not None and (old.source_dim, old.dim) != (rows.shape[1], simplex.dim):
            raise ValueError(
                f"The old head maps {old.source_dim} to {old.dim} dimensions, this one would map "
                f"{rows.shape[1]} to {simplex.dim}. Versions share the encoder and the capacity."
            )
        draw = np.random.default_rng(seed)
        start = self._start(rows.shape[1], simplex.dim, old, draw)
        state = {name: torch.nn.Parameter(torch.from_numpy(v)) for name, v in start.items()}
        weights = torch.from_numpy(simplex.weights)
        optimizer = torch.optim.Adam(state.values(), lr=self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            some = draw.integers(0, len(rows), self.batch)
            inputs = torch.from_numpy(rows[some])
            z = inputs @ state["w"]
            if self.hidden:
                z = z + torch.relu(inputs @ state["a"] + state["bias"]) @ state["b"]
            z = self.scale * torch.nn.functional.normalize(z, dim=1)
            before = None if old is None else torch.from_numpy(old.apply(rows[some]))
            optimizer.zero_grad()
            y = torch.from_numpy(targets[some])
            loss = hoc_loss(z, before, y, weights, self.share, self.mu)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return FittedSimplexHead({name: v.detach().numpy() for name, v in state.items()})

    def _start(
        self, d: int, e: int, old: FittedSimplexHead | None, draw: np.random.Generator
    ) -> dict[str, Float32]:
        if old is None:
            w = np.linalg.qr(draw.standard_normal((max(d, e), min(d, e))))[0]
            state = {"w": np.ascontiguousarray(w if d >= e else w.T, np.float32)}
        else:
            state = {"w": old.state["w"].copy()}
        if self.hidden:
            a = draw.standard_normal((d, self.hidden)) * np.sqrt(2 / d)
            nothing = {"bias": (self.hidden,), "b": (self.hidden, e)}
            state |= {"a": np.asarray(a, np.float32)}
            state |= {name: np.zeros(shape, np.float32) for name, shape in nothing.items()}
        return state


class HeadedEncoder:
    """A frozen encoder with a head on it, as one encoder."""

    def __init__(self, encoder: Encoder, head: FittedSimplexHead) -> None:
        self._encoder, self._head = encoder, head

    @property
    def name(self) -> str:
        """The encoder's, and which head."""
        return f"{self._encoder.name}+simplex:{self._head.digest}"

    @property
    def fingerprint(self) -> str:
        """The encoder's and the head's."""
        return f"{self._encoder.fingerprint}+{self._head.digest}"

    @property
    def dim(self) -> int:
        """Dimensions of the features."""
        return self._head.dim

    def encode_documents(self, texts: Sequence[str]) -> Float32:
        """Features [n K-1]."""
        return self._head.apply(self._encoder.encode_documents(texts))

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        """Features [n K-1]."""
        return self._head.apply(self._encoder.encode_queries(texts))
