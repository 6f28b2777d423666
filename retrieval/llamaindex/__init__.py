"""LlamaIndex components over a store (extra `llamaindex`)."""

from attar.retrieval.extras import require

require("llama_index.core", "llamaindex")

from attar.retrieval.llamaindex.retriever import AttarRetriever as AttarRetriever  # noqa: E402
from attar.retrieval.llamaindex.vector_store import (  # noqa: E402
    AttarVectorStore as AttarVectorStore,
)
