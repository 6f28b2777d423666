"""Haystack components over a store (extra `haystack`)."""

from attar.retrieval.extras import require

require("haystack", "haystack")

from attar.retrieval.haystack.document_store import (  # noqa: E402
    AttarDocumentStore as AttarDocumentStore,
)
from attar.retrieval.haystack.retriever import (  # noqa: E402
    AttarEmbeddingRetriever as AttarEmbeddingRetriever,
)
