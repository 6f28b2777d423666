"""LangChain's own suites, nothing overridden, over stores of several codecs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    VectorStoreIntegrationTests,
)

import attar
from attar.retrieval.langchain import AttarEmbeddings, AttarVectorStore


class Standard(VectorStoreIntegrationTests):
    codec: Any

    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with AttarVectorStore(self.get_embeddings(), codec=self.codec) as store:
            yield store


def pretrained(spec: str) -> Any:
    """Fitted on texts of the suite's own six-dimensional embeddings."""
    embeddings = VectorStoreIntegrationTests.get_embeddings()
    x = np.array(embeddings.embed_documents([f"text {i}" for i in range(500)]), np.float32)
    return attar.codec(spec).fit(x / np.linalg.norm(x, axis=1, keepdims=True))


class TestFloat32(Standard):
    codec = "float32"


class TestUntrained8x(Standard):
    codec = "waterfill@8x"


class TestUntrained32x(Standard):
    codec = "waterfill@32x"


class TestPretrained8x(Standard):
    """Three bytes a vector."""

    codec = pretrained("waterfill@8x")


class TestPretrainedOneByte(Standard):
    """Six dimensions at 32x would be less than a byte; one byte is as small as it gets."""

    codec = pretrained("binary")


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[AttarEmbeddings]:
        return AttarEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": "tests.attar.hashed:embed"}
