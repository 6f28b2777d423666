"""Attar as the index of mteb (arXiv 2210.07316): its tasks score a compressed store, offline too.

    model = SearchEncoderWrapper(mteb_model, index_backend=AttarIndex("waterfill@16x"))
    mteb.evaluate(model, beir_task("path/to/scifact"))

Extra `mteb`.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.codec import Codec
from attar.retrieval.extras import require
from attar.retrieval.sources import read_qrels, read_queries, read_source
from attar.stores.store import Store, StorePath
from attar.stores.types import Float32

ADDED = 10_000
"""Documents a commit."""


class AttarIndex:
    """mteb's IndexEncoderSearchProtocol over a store: `add_documents`, `search`, `clear`.

    codec: spec string, fitted on the corpus (on 65,536 documents of a larger one). metric: cosine,
    ip or l2; what the model's similarity asks for. path: of the store; None makes a temporary one.
    Scores are those of the codes; a store at `path` stays there until `clear`.
    """

    def __init__(
        self, codec: str = "waterfill@8x", metric: str = "cosine", path: StorePath | None = None
    ) -> None:
        self._recipe, self._metric = Codec.parse(codec), metric
        self._made = Path(tempfile.mkdtemp(prefix="attar-")) if path is None else None
        self._path = Path(path) if path is not None else Path(str(self._made)) / "store"
        self._store: Store | None = None
        self._names: list[str] = []

    @property
    def store(self) -> Store:
        """The store that is searched; ValueError before the first documents."""
        if self._store is None:
            raise ValueError("An index is searched after add_documents; it has no documents yet.")
        return self._store

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Add vectors [n d] under the ids; the codec is fitted when the first ones are there."""
        x = _as_array(embeddings)
        names = [str(name) for name in idxs]
        if self._store is None:
            few = len(x) < self._recipe.min_rows(x.shape[1])
            fitted = None if few else self._recipe.fit(_documents(x, self._metric))
            self._store = Store.create(self._path, fitted or self._recipe, None, self._metric)
        for start in range(0, len(x), ADDED):
            self._store.add(names[start : start + ADDED], x[start : start + ADDED])
        self._names += names

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Callable[[Any, Any], Any] | None = None,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Scores and row numbers of the best documents per query, best first.

        similarity_fn: not used, the store scores codes. top_ranked: documents to choose from, per
        query id; the rows are then places in that list, as mteb wants them.
        """
        store, queries = self.store, _as_array(embeddings)
        wanted = min(top_k, len(store)) if top_ranked is None else len(store)
        hits = store.search(queries, wanted)
        if top_ranked is not None:
            if query_idx_to_id is None:
                raise ValueError("Documents to choose from come with query_idx_to_id; give it.")
            places = [
                {name: place for place, name in enumerate(top_ranked[query_idx_to_id[q]])}
                for q in range(len(queries))
            ]
        else:
            places = [{name: row for row, name in enumerate(self._names)}] * len(queries)
        values, rows = [], []
        for q, known in enumerate(places):
            found = [
                (score, known[name])
                for name, score in zip(hits.ids[q], hits.scores[q].tolist(), strict=True)
                if name in known
            ][:top_k]
            values.append([score for score, _ in found])
            rows.append([row for _, row in found])
        return values, rows

    def clear(self) -> None:
        """Remove the store and its documents."""
        if self._store is not None:
            self._store.close()
            shutil.rmtree(self._path)
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made.mkdir()
        self._store, self._names = None, []


def beir_task(folder: StorePath, name: str | None = None, split: str = "test") -> Any:
    """A retrieval task of mteb over a BEIR folder on disk; no hub is asked."""
    mteb = require("mteb", "mteb")
    datasets = require("datasets", "mteb")
    place = Path(folder)
    title = name or place.name

    class BeirFolder(mteb.abstasks.AbsTaskRetrieval):  # type: ignore[misc, name-defined]
        """A BEIR folder."""

        metadata = mteb.TaskMetadata(
            name=title,
            description=f"The BEIR folder {place.name}.",
            dataset={"path": str(place), "revision": "on-disk"},
            type="Retrieval",
            eval_splits=[split],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        dataset_is_read = False

        def load_data(self, num_proc: int | None = None, **options: Any) -> None:
            """Read the folder."""
            if self.dataset_is_read:
                return
            qrels = read_qrels(place, split)
            queries = {q: text for q, text in read_queries(place).items() if q in qrels}
            corpus = [{"id": d.id, "title": "", "text": d.text} for d in read_source(place)]
            asked = [{"id": q, "text": text} for q, text in queries.items()]
            self.dataset = {
                "default": {
                    split: {
                        "corpus": datasets.Dataset.from_list(corpus),
                        "queries": datasets.Dataset.from_list(asked),
                        "relevant_docs": qrels,
                        "top_ranked": None,
                    }
                }
            }
            self.dataset_is_read = self.data_loaded = True

    return BeirFolder()


def _as_array(embeddings: Any) -> Float32:
    """float32 [n d] of an array or a tensor of torch."""
    plain = embeddings.detach().cpu().float() if hasattr(embeddings, "detach") else embeddings
    x = np.asarray(plain, np.float32)
    if x.ndim != 2:
        raise ValueError(f"Embeddings are vectors [n d], got the shape {x.shape}.")
    return x


def _documents(x: Float32, metric: str) -> Float32:
    if metric != "cosine":
        return x
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30), np.float32)
