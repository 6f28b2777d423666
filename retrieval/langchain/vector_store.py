"""A store as a LangChain vector store."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore

from attar.retrieval.housing import Coding, house
from attar.retrieval.langchain.embeddings import AttarEmbeddings
from attar.retrieval.langchain.retriever import as_document
from attar.stores.store import Store, StorePath
from attar.stores.types import Hits

Filter = Mapping[str, Any] | None
Scored = list[tuple[Document, float]]


class AttarVectorStore(VectorStore):
    """Documents and their codes in a folder, as LangChain sees them.

        store = AttarVectorStore(embeddings, "index", codec="waterfill@8x")
        store.add_documents(documents)
        store.similarity_search("does vitamin D prevent flu?", k=4, filter={"year": {"$gt": 2015}})

    embedding: any LangChain embeddings; of `AttarEmbeddings` the encoder is attached to the store,
    so that another model is refused later (of others only the dimension can be compared). path: a
    store, or a folder that does not exist yet; None makes a temporary one. codec: a spec string, a
    recipe or a fitted codec; a recipe that learns serves exact float32 until the store holds
    `train_at` documents, then it is fitted. settings: for `Store.create`.

    Adding is an upsert, ids unknown to `delete` and `get_by_ids` are left out, `filter` is the
    dialect of `Store.search`, metadata is what JSON can write. Scores: higher is better. One
    instance may be shared by threads and event loops; one process at a time may open the folder
    this way. `close` (or `with`) ends it; a temporary folder goes with the object.
    """

    def __init__(
        self,
        embedding: Embeddings,
        path: StorePath | None = None,
        codec: Coding = None,
        *,
        metric: str | None = None,
        **settings: Any,
    ) -> None:
        self._embedding = embedding
        encoder = embedding.encoder if isinstance(embedding, AttarEmbeddings) else None
        self.store: Store = house(self, path, codec, encoder=encoder, metric=metric, **settings)

    @property
    def embeddings(self) -> Embeddings:
        """What texts and questions are embedded with."""
        return self._embedding

    def add_documents(
        self, documents: list[Document], *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add or replace documents in one atomic commit; returns their ids in order.

        ids: win over the documents' own; a document with neither gets a new one. Of documents with
        the same id the last counts.
        """
        names, last = _named(documents, ids)
        if names:
            texts = [document.page_content for document in last.values()]
            self._put(last, self._embedding.embed_documents(texts))
        return names

    async def aadd_documents(
        self, documents: list[Document], *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """As `add_documents`, embedding asynchronously."""
        names, last = _named(documents, ids)
        if names:
            texts = [document.page_content for document in last.values()]
            vectors = await self._embedding.aembed_documents(texts)
            await run_in_executor(None, self._put, last, vectors)
        return names

    def _put(self, documents: Mapping[str, Document], vectors: list[list[float]]) -> None:
        bodies = documents.values()
        self.store.upsert(
            list(documents),
            np.asarray(vectors, np.float32),
            [document.page_content for document in bodies],
            [document.metadata for document in bodies],
        )

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents, all of them without `ids`; unknown ids are no error."""
        names = [record.id for record in self.store.iter()] if ids is None else ids
        self.store.delete(names)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents by id; those that do not exist are left out."""
        return [as_document(record) for record in self.store.get(ids)]

    def similarity_search(
        self, query: str, k: int = 4, filter: Filter = None, **kwargs: Any
    ) -> list[Document]:
        """The k best documents for a question."""
        return _bare(self.similarity_search_with_score(query, k, filter, **kwargs))

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter = None, **kwargs: Any
    ) -> Scored:
        """The k best documents with their scores, best first; higher is better."""
        vector = self._embedding.embed_query(query)
        return self.similarity_search_with_score_by_vector(vector, k, filter, **kwargs)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter = None, **kwargs: Any
    ) -> list[Document]:
        """The k best documents for a vector."""
        return _bare(self.similarity_search_with_score_by_vector(embedding, k, filter, **kwargs))

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter = None, **kwargs: Any
    ) -> Scored:
        """The k best documents for a vector with their scores; kwargs go to `Store.search`."""
        vector = np.asarray(embedding, np.float32)
        return self._scored(self.store.search(vector, k, filter=filter or None, **kwargs))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: Filter = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search`, embedding asynchronously."""
        return _bare(await self.asimilarity_search_with_score(query, k, filter, **kwargs))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score`, embedding asynchronously."""
        vector = await self._embedding.aembed_query(query)
        return await run_in_executor(
            None, self.similarity_search_with_score_by_vector, vector, k, filter, **kwargs
        )

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The k documents that are best and not all the same, of the `fetch_k` best."""
        return self.max_marginal_relevance_search_by_vector(
            self._embedding.embed_query(query), k, fetch_k, lambda_mult, filter, **kwargs
        )

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, embedding asynchronously."""
        return await run_in_executor(
            None,
            self.max_marginal_relevance_search_by_vector,
            await self._embedding.aembed_query(query),
            k,
            fetch_k,
            lambda_mult,
            filter,
            **kwargs,
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector."""
        hits = self.store.search_diverse(
            np.asarray(embedding, np.float32),
            k,
            fetch_k=fetch_k,
            lambda_mult=lambda_mult,
            filter=filter or None,
            **kwargs,
        )
        return _bare(self._scored(hits))

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], *args: Any, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`, in a thread."""
        return await run_in_executor(
            None, self.max_marginal_relevance_search_by_vector, embedding, *args, **kwargs
        )

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return RELEVANCE[self.store.metric]

    def _scored(self, hits: Hits) -> Scored:
        if not len(hits):
            return []
        pairs = zip(hits.ids[0], hits.scores[0], strict=True)
        scores = {name: float(score) for name, score in pairs if name is not None}
        return [(as_document(r), scores[r.id]) for r in self.store.get(list(scores))]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a store of texts; kwargs are those of the constructor."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """As `from_texts`, embedding asynchronously."""
        store = await run_in_executor(None, cls, embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def close(self) -> None:
        """Close the store; further calls are errors."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _cosine_relevance(score: float) -> float:
    """The cosine; what points away is as irrelevant as what stands at right angles."""
    return min(max(score, 0.0), 1.0)


def _inner_product_relevance(score: float) -> float:
    return float(0.5 * (1 + np.tanh(score / 2)))


def _distance_relevance(score: float) -> float:
    """1 / (1 + squared distance); scores of an l2 store are negative squared distances."""
    return 1 / (1 + max(-score, 0.0))


RELEVANCE: dict[str, Callable[[float], float]] = {
    "cosine": _cosine_relevance,
    "ip": _inner_product_relevance,
    "l2": _distance_relevance,
}
"""Metric -> monotone map from scores to [0, 1]."""


def _named(
    documents: Sequence[Document], ids: Sequence[str | None] | None
) -> tuple[list[str], dict[str, Document]]:
    """Ids in order, and id -> the last document that has it."""
    given = list(ids) if ids is not None else [document.id for document in documents]
    if len(given) != len(documents):
        raise ValueError(
            f"ids has one entry per document: {len(documents)} documents, {len(given)} ids."
        )
    own = [document.id for document in documents]
    names = [a or b or str(uuid.uuid4()) for a, b in zip(given, own, strict=True)]
    return names, dict(zip(names, documents, strict=True))


def _bare(scored: Scored) -> list[Document]:
    return [document for document, _ in scored]
