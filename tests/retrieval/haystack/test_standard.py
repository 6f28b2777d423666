"""Haystack's own suites over stores of several codecs.

Overridden is what the suite asks every store to define: the policy NONE, and how documents are
compared (as sets, and embeddings by their direction, since a cosine store keeps directions).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    DocumentStoreBaseExtendedTests,
)
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
)

from attar.retrieval.haystack import AttarDocumentStore


class Settings:
    codec = "float32"
    settings: dict[str, Any] = {}
    least_cosine = 0.999999

    @pytest.fixture
    def document_store(self) -> Iterator[AttarDocumentStore]:
        store = AttarDocumentStore(codec=self.codec, return_embedding=True, **self.settings)
        yield store
        store.close()

    def assert_documents_are_equal(
        self, received: list[Document], expected: list[Document]
    ) -> None:
        def plain(documents: list[Document]) -> list[Any]:
            return sorted((d.id, d.content, sorted(d.meta.items())) for d in documents)

        assert plain(received) == plain(expected)
        embeddings = {d.id: d.embedding for d in expected}
        for document in received:
            want = embeddings[document.id]
            assert (document.embedding is None) == (want is None)
            if want is not None:
                x, y = np.array(document.embedding), np.array(want)
                assert x @ y / np.linalg.norm(x) / np.linalg.norm(y) > self.least_cosine

    def test_write_documents(self, document_store: AttarDocumentStore) -> None:
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


class AsyncPolicy:
    async def test_write_documents_async(self, document_store: AttarDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


class TestFloat32(
    Settings,
    AsyncPolicy,
    DocumentStoreBaseExtendedTests,
    CountDocumentsByFilterTest,
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
):
    pass


class TestTrained8x(Settings, DocumentStoreBaseExtendedTests):
    """The suite writes some dozen documents; the store trains at ten of them."""

    codec = "waterfill@8x"
    settings = {"train_at": 10}
    least_cosine = 0.8
