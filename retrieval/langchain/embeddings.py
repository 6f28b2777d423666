"""An encoder of attar as LangChain embeddings."""

from typing import Any

from langchain_core.embeddings import Embeddings

from attar.retrieval.encoders import make_encoder
from attar.stores.protocols import Encoder


class AttarEmbeddings(Embeddings):
    """Embeddings by an encoder object, or by a name that `attar.encoder` knows.

    AttarEmbeddings("all-MiniLM-L6-v2").embed_query("does vitamin D prevent flu?")
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder: Encoder = make_encoder(encoder)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, as lists of Python floats."""
        if not texts:
            return []
        vectors: list[list[float]] = self.encoder.encode_documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        vector: list[float] = self.encoder.encode_queries([text])[0].tolist()
        return vector
