"""LangChain components over a store (extra `langchain`)."""

from attar.retrieval.extras import require

require("langchain_core", "langchain")

from attar.retrieval.langchain.embeddings import AttarEmbeddings as AttarEmbeddings  # noqa: E402
from attar.retrieval.langchain.retriever import AttarRetriever as AttarRetriever  # noqa: E402
from attar.retrieval.langchain.vector_store import AttarVectorStore as AttarVectorStore  # noqa: E402
