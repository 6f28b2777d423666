"""UMAP, by umap-learn: here because the reference paper has it, not because it retrieves well."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.reducer import FittedReducer, State
from attar.retrieval.reducers.kept import KeepingReducer, sampled, unit_rows
from attar.stores.types import Float32, Query

MOST_ROWS = 4095
"""Documents that `fit` keeps; from 4,096 on umap-learn would build an approximate index."""

NEIGHBOURS = 15


def _model(width: int, seed: int, neighbours: int, **settings: Any) -> Any:
    umap = require("umap", "umap")
    return umap.UMAP(
        n_neighbors=neighbours,
        n_components=width,
        metric="cosine",
        random_state=seed,
        n_jobs=1,
        **settings,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Numba on one thread: its threads would only wait for each other on single vectors."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


@dataclass(frozen=True)
class FittedUMAP(FittedReducer):
    """The training sample and where UMAP put it; new vectors are placed among their neighbours.

    What is kept, and nothing else: sample float32 [s d], embedding float32 [s e], the seed, and a
    linear map back [e + 1, d] for `inverse` (UMAP's own works below eight dimensions only).
    umap-learn's model is made again from sample and embedding through its public arguments, without
    optimising anew, so that the file holds arrays only and the loaded codec agrees bit for bit.

    Every vector is placed by itself, since umap-learn's result depends on the batch otherwise:
    about 7 ms each. Documents and queries both pass the model, and both are divided by their norms,
    so that scores are cosines in the embedding; they do not estimate <q, x>.
    """

    heavy: ClassVar[bool] = True

    sample: Float32
    embedding: Float32
    back: Float32
    seed: int

    @property
    def width(self) -> int:
        """Dimensions e that come out."""
        return int(self.embedding.shape[1])

    @cached_property
    def _placing(self) -> Any:
        neighbours = min(NEIGHBOURS, len(self.sample) - 1)
        model = _model(self.width, self.seed, neighbours, init=self.embedding, n_epochs=0)
        with _one_thread():
            model.fit(self.sample)
        # Fitting rescales the starting points; these are the optimised ones.
        model.embedding_ = np.array(self.embedding)
        model.n_epochs = None
        return model

    def transform(self, x: Float32) -> Float32:
        """Place each vector [n d] among the sample, then normalise."""
        z = np.zeros((len(x), self.width), np.float32)
        if len(x):
            model = self._placing
            with _one_thread():
                for row, vector in enumerate(x):
                    z[row] = model.transform(vector[None])[0]
        return unit_rows(z)

    def inverse(self, z: Float32) -> Float32:
        """The least-squares linear guess at the document."""
        x: Float32 = z @ self.back[:-1] + self.back[-1]
        return x

    def prepare(self, q: Float32) -> Query:
        """Queries pass the model like documents."""
        return Query(self.transform(q), np.zeros(len(q), np.float32))

    def state(self) -> State:
        """Sample, embedding, the map back, the seed."""
        return {
            "sample": self.sample,
            "embedding": self.embedding,
            "back": self.back,
            "seed": np.array([self.seed]),
        }


@dataclass(frozen=True)
class UMAP(KeepingReducer):
    """`umap<N>`: arXiv 1802.03426, cosine metric, 15 neighbours, umap-learn's other defaults.

    Needs `pip install 'attar[umap]'`. Fitted on at most 4,095 documents, sampled by the seed.
    """

    word: ClassVar[str] = "umap"
    form: ClassVar[str] = "umap<N>, umap<P>%"

    def min_rows(self, dim: int) -> int:
        """More than dimensions, for the spectral start, and than neighbours."""
        return max(NEIGHBOURS + 1, self.width(dim) + 2)

    def fit(self, x: Float32, seed: int) -> FittedUMAP:
        """Optimise the embedding of the sample, on one thread, so that the seed decides it."""
        self.check_rows(len(x), x.shape[1])
        rows = sampled(x, MOST_ROWS, seed)
        model = _model(self.width(x.shape[1]), seed, NEIGHBOURS)
        with _one_thread():
            model.fit(rows)
        embedding = np.ascontiguousarray(model.embedding_, dtype=np.float32)
        if not np.isfinite(embedding).all():
            row = int(np.argmin(np.isfinite(embedding).all(axis=1)))
            raise ValueError(
                f"UMAP must place every document, got no place for row {row} of its sample, which "
                "has no neighbours; remove zero vectors and duplicates, or use pca."
            )
        known = np.hstack([unit_rows(embedding), np.ones((len(rows), 1), np.float32)])
        back = np.linalg.lstsq(known, rows, rcond=None)[0].astype(np.float32)
        return FittedUMAP(rows, embedding, back, seed)

    def restore(self, dim: int, state: State) -> FittedUMAP:
        """The same again; the model is made when the first vector comes."""
        sample, embedding, back = (
            state[name].astype(np.float32, copy=False) for name in ("sample", "embedding", "back")
        )
        return FittedUMAP(sample, embedding, back, int(state["seed"][0]))
