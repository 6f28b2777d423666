"""A store as a LlamaIndex vector store."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from attar.retrieval.housing import Coding, house, matching_ids
from attar.retrieval.llamaindex.filters import Filter, both, translate
from attar.stores.records import Record
from attar.stores.store import Store, StorePath

MMR_DEFAULT = 0.5
MMR_PREFETCH = 4


class AttarVectorStore(BasePydanticVectorStore):
    """Nodes and the codes of their embeddings in a folder, as LlamaIndex sees them.

        store = AttarVectorStore("index", codec="waterfill@8x")
        index = VectorStoreIndex.from_documents(
            documents, storage_context=StorageContext.from_defaults(vector_store=store)
        )

    path: a store, or a folder that does not exist yet; None makes a temporary one that goes with
    the object. codec, metric, settings: as for `attar.Store.create`; a codec that learns serves
    exact float32 until the store holds `train_at` nodes. Adding is an upsert by node id. Query
    modes: default, mmr, and hybrid and text_search in a store with `text_index=True`.
    """

    stores_text: bool = True
    flat_metadata: bool = False

    _store: Store = PrivateAttr()

    def __init__(
        self,
        path: StorePath | None = None,
        codec: Coding = None,
        *,
        metric: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(stores_text=True)
        self._store = house(self, path, codec, metric=metric, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this."""
        return "AttarVectorStore"

    @property
    def client(self) -> Store:
        """The store."""
        return self._store

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add or replace nodes in one atomic commit; of equal ids the last counts."""
        last = {node.node_id: node for node in nodes}
        if last:
            some = list(last.values())
            self._store.upsert(
                list(last),
                np.asarray([node.get_embedding() for node in some], np.float32),
                [node.get_content(metadata_mode=MetadataMode.NONE) for node in some],
                [node_to_metadata_dict(node, remove_text=True) for node in some],
            )
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread; so are the others of this kind."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document."""
        self._store.delete(matching_ids(self._store, {"ref_doc_id": ref_doc_id}))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete nodes that have one of the ids and match; without either, nothing."""
        if node_ids is not None or filters is not None:
            self._store.delete(self._chosen(node_ids, filters))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    def clear(self) -> None:
        """Delete all nodes."""
        self._store.delete([record.id for record in self._store.iter()])

    async def aclear(self) -> None:
        """As `clear`."""
        await asyncio.to_thread(self.clear)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Nodes that have one of the ids and match; unknown ids are left out."""
        return [as_node(record) for record in self._store.get(self._chosen(node_ids, filters))]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def _chosen(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> list[str]:
        wanted = translate(filters)
        if wanted is None:
            return node_ids or ([r.id for r in self._store.iter()] if node_ids is None else [])
        matches = matching_ids(self._store, wanted)
        if node_ids is None:
            return matches
        allowed = set(matches)
        return [name for name in node_ids if name in allowed]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes nearest to the embedding, best first; similarities are the store's scores."""
        wanted = both(
            translate(query.filters),
            {"ref_doc_id": {"$in": list(query.doc_ids)}} if query.doc_ids else None,
        )
        k = query.similarity_top_k
        # Ids are no metadata: with them everything is ranked, and the k best of them are kept.
        depth = max(k, len(self._store)) if query.node_ids else k
        ranking = self._ranking(query, depth, wanted)
        if query.node_ids:
            allowed = set(query.node_ids)
            ranking = {name: score for name, score in ranking.items() if name in allowed}
        names = list(ranking)[:k]
        records = self._store.get(names)
        return VectorStoreQueryResult(
            nodes=[as_node(record) for record in records],
            similarities=[ranking[record.id] for record in records],
            ids=[record.id for record in records],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _ranking(self, query: VectorStoreQuery, k: int, wanted: Filter | None) -> dict[str, float]:
        """Ids and scores, best first."""
        modes = VectorStoreQueryMode
        if query.mode == modes.TEXT_SEARCH:
            hits = self._store.search(text=query.query_str, k=k, filter=wanted, alpha=0.0)
        elif query.mode == modes.HYBRID:
            hits = self._store.search(
                _vector(query), k, text=query.query_str, filter=wanted, alpha=query.alpha
            )
        elif query.mode == modes.MMR:
            share = MMR_DEFAULT if query.mmr_threshold is None else query.mmr_threshold
            hits = self._store.search_diverse(
                _vector(query), k, fetch_k=MMR_PREFETCH * k, lambda_mult=share, filter=wanted
            )
        elif query.mode == modes.DEFAULT:
            hits = self._store.search(_vector(query), k, filter=wanted)
        else:
            raise ValueError(
                f"Query modes are default, mmr, hybrid and text_search, got {query.mode.value!r}."
            )
        if not len(hits):
            return {}
        pairs = zip(hits.ids[0], hits.scores[0], strict=True)
        return {name: float(score) for name, score in pairs if name is not None}

    def close(self) -> None:
        """Close the store; further calls are errors."""
        self._store.close()


def _vector(query: VectorStoreQuery) -> Any:
    if query.query_embedding is None:
        raise ValueError(f"A query in mode {query.mode.value!r} needs query_embedding, got none.")
    return np.asarray(query.query_embedding, np.float32)


def as_node(record: Record) -> BaseNode:
    """A node as it was added; a document of a store built otherwise becomes a TextNode."""
    metadata = record.metadata or {}
    if "_node_content" in metadata:
        return metadata_dict_to_node(metadata, text=record.text)
    return TextNode(id_=record.id, text=record.text or "", metadata=dict(metadata))
