"""A store as a Haystack document store."""

import asyncio
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from attar.retrieval.codec import Codec
from attar.retrieval.haystack.filters import translate
from attar.retrieval.housing import house, matching_ids
from attar.stores.records import Record
from attar.stores.store import Store

Filters = dict[str, Any] | None

BESIDE = "-unembedded"
"""Suffix of the folder with the documents that have no embedding."""


class AttarDocumentStore:
    """Documents and the codes of their embeddings in a folder, as Haystack sees them.

        store = AttarDocumentStore("index", codec="waterfill@8x")
        store.write_documents(documents_with_embeddings)

    path: a store, or a folder that does not exist yet; None makes a temporary one that goes with
    the object. codec, metric, settings: as for `attar.Store.create`; a codec that learns serves
    exact float32 until the store holds `train_at` documents. return_embedding: decode embeddings
    for `filter_documents` too. Opened when first used, so that pipelines can be loaded.

    Documents without an embedding lie in a second store beside the first (`index-unembedded`, made
    when needed): filters find them, retrieval does not. blob and sparse_embedding are refused.
    Policy NONE means FAIL. Metadata is what JSON can write.
    """

    def __init__(
        self,
        path: str | None = None,
        codec: str | None = None,
        metric: str | None = None,
        return_embedding: bool = False,
        **settings: Any,
    ) -> None:
        self._path = None if path is None else str(path)
        self._codec = codec
        self._metric = metric
        self._return_embedding = return_embedding
        self._settings = settings
        self._opened: Store | None = None
        self._beside: Store | None = None
        self._guard = threading.RLock()

    @property
    def store(self) -> Store:
        """The store of the documents that have an embedding."""
        with self._guard:
            if self._opened is None:
                self._opened = house(
                    self, self._path, self._codec, metric=self._metric, **self._settings
                )
            return self._opened

    def _stores(self, need_beside: bool = False) -> list[Store]:
        """The store, and the one beside it when there is one or when it is needed."""
        with self._guard:
            store = self.store
            folder = Path(store.path).with_name(store.path.name + BESIDE)
            if self._beside is None and (need_beside or folder.exists()):
                self._beside = house(self, folder, "float32")
            return [store] if self._beside is None else [store, self._beside]

    def to_dict(self) -> dict[str, Any]:
        """How to open the same store again; the documents stay in its folder."""
        return default_to_dict(
            self,
            path=self._path,
            codec=self._codec,
            metric=self._metric,
            return_embedding=self._return_embedding,
            **self._settings,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "AttarDocumentStore":
        """The inverse of `to_dict`."""
        return default_from_dict(cls, data)

    def close(self) -> None:
        """Close the folders; the next call opens them again (a temporary one starts empty)."""
        with self._guard:
            for store in (self._opened, self._beside):
                if store is not None:
                    store.close()
            self._opened = self._beside = None

    def count_documents(self) -> int:
        """All documents, with and without embedding."""
        return sum(len(store) for store in self._stores())

    def filter_documents(self, filters: Filters = None) -> list[Document]:
        """Documents that match, in the order in which they were written when there is no filter."""
        return [
            document
            for store in self._stores()
            for document in self._documents(store, _matching(store, filters))
        ]

    def _documents(self, store: Store, records: list[Record]) -> list[Document]:
        if not self._return_embedding or store is self._beside or not records:
            return [_document(record) for record in records]
        vectors = store.vectors([record.id for record in records])
        return [_document(r, x.tolist()) for r, x in zip(records, vectors, strict=True)]

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents, checked before any is written; returns how many were.

        Raises ValueError for what is no Document or cannot be kept, DuplicateDocumentError for an
        id that exists under FAIL and NONE.
        """
        _check(documents)
        with self._guard:
            chosen = self._chosen(documents, policy)
            embedded = {i: d for i, d in chosen.items() if d.embedding is not None}
            bare = {i: d for i, d in chosen.items() if d.embedding is None}
            for store, some, others in self._plan(embedded, bare):
                vectors = [[1.0] if d.embedding is None else d.embedding for d in some.values()]
                store.upsert(
                    list(some),
                    np.asarray(vectors, np.float32),
                    [d.content for d in some.values()],
                    [d.meta for d in some.values()],
                )
                for other in others:
                    other.delete(list(some))
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(chosen)

    def _plan(
        self, embedded: dict[str, Document], bare: dict[str, Document]
    ) -> list[tuple[Store, dict[str, Document], list[Store]]]:
        """Store to write to, documents, and stores that may hold an older version of them."""
        store, *beside = self._stores(bool(bare))
        plan: list[tuple[Store, dict[str, Document], list[Store]]] = []
        if embedded:
            plan.append((store, embedded, beside))
        if bare:
            plan.append((beside[0], bare, [store]))
        return plan

    def _chosen(self, documents: list[Document], policy: DuplicatePolicy) -> dict[str, Document]:
        """What the policy lets through: id -> document."""
        chosen: dict[str, Document] = {}
        stores = self._stores()
        for document in documents:
            there = document.id in chosen or any(document.id in store for store in stores)
            if there and policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE):
                raise DuplicateDocumentError(
                    f"ID {document.id!r} already exists. Write with DuplicatePolicy.OVERWRITE to "
                    "replace it, or SKIP to keep it."
                )
            if not there or policy == DuplicatePolicy.OVERWRITE:
                chosen[document.id] = document
        return chosen

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete by id; unknown ids are no error."""
        for store in self._stores():
            store.delete(document_ids)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete everything; recreate_index: the dimension and what the codec learned too."""
        with self._guard:
            self.delete_by_filter(None)
            if recreate_index:
                old = self.store
                recipe, metric = Codec.parse(old.info()["spec"]), old.metric
                old.close()
                settings = self._settings | {"overwrite": True}
                self._opened = Store.create(old.path, recipe, metric=metric, **settings)
                weakref.finalize(self, self._opened.close)

    def delete_by_filter(self, filters: Filters) -> int:
        """Delete what matches; returns how many."""
        return sum(s.delete([r.id for r in _matching(s, filters)]) for s in self._stores())

    def update_by_filter(self, filters: Filters, meta: dict[str, Any]) -> int:
        """Merge `meta` into the metadata of what matches; returns how many."""
        count = 0
        for store in self._stores():
            records = _matching(store, filters)
            if records:
                notes = [{**(record.metadata or {}), **meta} for record in records]
                store.update([record.id for record in records], metadata=notes)
            count += len(records)
        return count

    def count_documents_by_filter(self, filters: Filters) -> int:
        """How many documents match."""
        return sum(len(_matching(store, filters)) for store in self._stores())

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        *,
        filters: Filters = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """The documents nearest to an embedding, best first, with their scores (higher is better).

        Embeddings that are returned are decoded from the codes, in the metric's scale.
        """
        if top_k == 0:
            return []
        store = self.store
        wanted = translate(filters) if filters else None
        hits = store.search(np.asarray(query_embedding, np.float32), top_k, filter=wanted)
        scores = dict(zip(hits.ids[0], map(float, hits.scores[0]), strict=True))
        records = store.get(list(scores))
        if not return_embedding or not records:
            return [_document(record, score=scores[record.id]) for record in records]
        vectors = store.vectors([record.id for record in records])
        return [
            _document(record, x.tolist(), scores[record.id])
            for record, x in zip(records, vectors, strict=True)
        ]

    async def count_documents_async(self) -> int:
        """As `count_documents`, in a thread; so are the others of this name."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: Filters = None) -> list[Document]:
        """As `filter_documents`."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """As `write_documents`."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """As `delete_documents`."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        """As `delete_all_documents`."""
        await asyncio.to_thread(self.delete_all_documents, recreate_index)

    async def delete_by_filter_async(self, filters: Filters) -> int:
        """As `delete_by_filter`."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: Filters, meta: dict[str, Any]) -> int:
        """As `update_by_filter`."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: Filters) -> int:
        """As `count_documents_by_filter`."""
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def embedding_retrieval_async(
        self, query_embedding: list[float], **options: Any
    ) -> list[Document]:
        """As `embedding_retrieval`."""

        def ask() -> list[Document]:
            return self.embedding_retrieval(query_embedding, **options)

        return await asyncio.to_thread(ask)


def _matching(store: Store, filters: Filters) -> list[Record]:
    """Documents of one store that match; all of them without filters."""
    wanted = translate(filters) if filters else None
    if wanted is None:
        return list(store.iter())
    return store.get(matching_ids(store, wanted))


def _check(documents: object) -> None:
    if isinstance(documents, str) or not isinstance(documents, Iterable):
        raise ValueError(f"documents is a list of Documents, got {type(documents).__name__}.")
    for document in documents:
        if not isinstance(document, Document):
            raise ValueError(
                f"documents is a list of Documents, it holds a {type(document).__name__}."
            )
        for field in ("blob", "sparse_embedding"):
            if getattr(document, field) is not None:
                raise ValueError(
                    f"This store keeps content, meta and embedding; document {document.id!r} has a "
                    f"{field}. Keep it elsewhere and its place in meta."
                )


def _document(
    record: Record, embedding: list[float] | None = None, score: float | None = None
) -> Document:
    return Document(
        id=record.id,
        content=record.text,
        meta=dict(record.metadata or {}),
        embedding=embedding,
        score=score,
    )
