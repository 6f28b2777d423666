"""A store as a LangChain retriever."""

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from attar.stores.records import Record
from attar.stores.store import Store
from attar.stores.types import Hits


class AttarRetriever(BaseRetriever):
    """The k documents of a store that answer a question best.

        retriever = AttarRetriever(store=attar.open("index", encoder="all-MiniLM-L6-v2"), k=4)
        retriever.invoke("does vitamin D prevent flu?")
        retriever.invoke("does vitamin D prevent flu?", None, k=1, filter={"year": 2020})

    store: an open store with an encoder attached. k: documents per question, at least 1. filter: on
    metadata, in the dialect of `Store.search`. search_kwargs: passed to `Store.search` as they are.
    `k`, `filter` and further search arguments of one call win over these.

    Each Document carries its id, its text, and its metadata with the key `score` added (higher is
    better); a document without text has an empty page_content.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: Store
    k: int = Field(default=4, ge=1)
    filter: Mapping[str, Any] | None = None
    search_kwargs: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        arguments = {"k": self.k, "filter": self.filter} | self.search_kwargs | kwargs
        return documents(self.store, self.store.search(text=query, **arguments))


def documents(store: Store, hits: Hits) -> list[Document]:
    """Hits of one query as Documents, best first; one deleted meanwhile is left out."""
    if not len(hits):
        return []
    # Thresholds, groups and words pad a row with None.
    pairs = zip(hits.ids[0], hits.scores[0], strict=True)
    scores = {name: float(score) for name, score in pairs if name is not None}
    return [as_document(r, score=scores[r.id]) for r in store.get(list(scores))]


def as_document(record: Record, **more: Any) -> Document:
    """A record as a Document; `more` goes into its metadata."""
    return Document(
        id=record.id, page_content=record.text or "", metadata={**(record.metadata or {}), **more}
    )
