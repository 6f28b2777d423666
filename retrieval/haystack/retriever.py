"""Retrieval by embedding as a Haystack component."""

from typing import Any

from haystack import component, default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy

from attar.retrieval.haystack.document_store import AttarDocumentStore


@component
class AttarEmbeddingRetriever:
    """The documents of an AttarDocumentStore that are nearest to the embedding of a question.

    filters: Haystack's, on metadata; `filter_policy` says whether those of a call replace them or
    are added. top_k: documents per question, at least 1.
    """

    def __init__(
        self,
        document_store: AttarDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        if not isinstance(document_store, AttarDocumentStore):
            raise TypeError(
                f"document_store is an AttarDocumentStore, got {type(document_store).__name__}."
            )
        if top_k < 1:
            raise ValueError(f"top_k is at least 1, got {top_k}.")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.return_embedding = return_embedding
        self.filter_policy = (
            filter_policy
            if isinstance(filter_policy, FilterPolicy)
            else FilterPolicy.from_str(filter_policy)
        )

    def to_dict(self) -> dict[str, Any]:
        """Serialise, for pipelines as YAML."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "AttarEmbeddingRetriever":
        """The inverse of `to_dict`."""
        parameters = dict(data["init_parameters"])
        if isinstance(parameters["document_store"], dict):
            parameters["document_store"] = AttarDocumentStore.from_dict(
                parameters["document_store"]
            )
        made: AttarEmbeddingRetriever = default_from_dict(
            cls, {**data, "init_parameters": parameters}
        )
        return made

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve; arguments of the call win over those of the component."""
        options = self._options(filters, top_k, return_embedding)
        return {"documents": self.document_store.embedding_retrieval(query_embedding, **options)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        options = self._options(filters, top_k, return_embedding)
        found = await self.document_store.embedding_retrieval_async(query_embedding, **options)
        return {"documents": found}

    def _options(
        self, filters: dict[str, Any] | None, top_k: int | None, return_embedding: bool | None
    ) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "return_embedding": (
                self.return_embedding if return_embedding is None else return_embedding
            ),
        }
