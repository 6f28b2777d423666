"""A store with its own encoder as a LlamaIndex retriever."""

import asyncio
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from attar.retrieval.llamaindex.vector_store import as_node
from attar.stores.store import Store


class AttarRetriever(BaseRetriever):
    """The k documents of an open store with an encoder that answer a question best.

    AttarRetriever(attar.open("index", encoder="all-MiniLM-L6-v2"), k=4).retrieve("why?")

    filter: on metadata, in the dialect of `Store.search`. options: passed to it as they are.
    """

    def __init__(
        self,
        store: Store,
        k: int = 4,
        filter: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if k < 1:
            raise ValueError(f"k is at least 1, got {k}.")
        super().__init__()
        self._store = store
        self._arguments = {"k": k, "filter": filter, **options}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        given = query_bundle.embedding
        question: dict[str, Any] = (
            {"text": query_bundle.query_str} if given is None else {"vector": given}
        )
        hits = self._store.search(**question, **self._arguments)
        pairs = zip(hits.ids[0], hits.scores[0], strict=True)
        scores = {name: float(score) for name, score in pairs if name is not None}
        return [
            NodeWithScore(node=as_node(record), score=scores[record.id])
            for record in self._store.get(list(scores))
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
