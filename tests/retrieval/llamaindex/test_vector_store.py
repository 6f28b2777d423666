"""AttarVectorStore and AttarRetriever inside LlamaIndex, over real stores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

import attar
from attar.retrieval.llamaindex import AttarRetriever, AttarVectorStore
from tests.attar.hashed import embed

CODECS = ("float32", "waterfill@8x", "waterfill@32x")
DIM = 32


class Hashed(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return embed([text])[0].tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def nodes(count: int = 60) -> list[TextNode]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        metadata: dict[str, Any] = {"number": i, "parity": "odd" if i % 2 else "even"}
        if i % 3 == 0:
            metadata["tags"] = ["third", f"n{i % 4}"]
        node = TextNode(
            id_=f"n{i}",
            text=f"text {i}",
            metadata=metadata,
            embedding=rng.standard_normal(DIM).tolist(),
        )
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"doc{i % 5}")
        made.append(node)
    return made


@pytest.fixture(scope="module", params=CODECS)
def store(request: pytest.FixtureRequest) -> Iterator[AttarVectorStore]:
    made = AttarVectorStore(codec=request.param, train_at=40, text_index=True)
    assert made.add(nodes()) == [node.node_id for node in nodes()]
    yield made
    made.close()


def ask(store: AttarVectorStore, node: TextNode, **options: Any) -> list[str]:
    options = {"similarity_top_k": 60} | options
    query = VectorStoreQuery(query_embedding=node.embedding, **options)
    return store.query(query).ids


def test_nodes_come_back_as_they_were(store: AttarVectorStore) -> None:
    want = {n.node_id: n for n in nodes()}
    found = store.query(VectorStoreQuery(query_embedding=want["n7"].embedding, similarity_top_k=5))
    assert found.ids[0] == "n7"
    assert found.similarities == sorted(found.similarities, reverse=True)
    for node in found.nodes:
        original = want[node.node_id].model_copy(update={"embedding": None})
        assert node == original
        assert node.ref_doc_id == original.ref_doc_id


@pytest.mark.parametrize(
    ("operator", "key", "value"),
    [
        (FilterOperator.EQ, "parity", "odd"),
        (FilterOperator.NE, "parity", "odd"),
        (FilterOperator.NE, "tags", "absent"),
        (FilterOperator.GT, "number", 30),
        (FilterOperator.GTE, "number", 30),
        (FilterOperator.LT, "number", 30),
        (FilterOperator.LTE, "number", 30),
        (FilterOperator.IN, "number", [1, 5, 99]),
        (FilterOperator.NIN, "number", [1, 5, 99]),
        (FilterOperator.CONTAINS, "tags", "n2"),
        (FilterOperator.ANY, "tags", ["n1", "n2"]),
        (FilterOperator.ALL, "tags", ["third", "n2"]),
    ],
)
@pytest.mark.parametrize("condition", list(FilterCondition))
def test_filters_are_those_of_llama_index(
    store: AttarVectorStore, operator: Any, key: str, value: Any, condition: FilterCondition
) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key=key, value=value, operator=operator),
            MetadataFilter(key="number", value=10, operator=FilterOperator.GT),
        ],
        condition=condition,
    )
    every = {n.node_id: n.metadata for n in nodes()}
    truth = build_metadata_filter_fn(every.__getitem__, filters)
    expected = {name for name in every if truth(name)}
    assert set(ask(store, nodes()[0], filters=filters)) == expected
    assert {n.node_id for n in store.get_nodes(filters=filters)} == expected


def test_filters_that_cannot_be_said_name_the_operator(store: AttarVectorStore) -> None:
    for operator in (FilterOperator.TEXT_MATCH, FilterOperator.IS_EMPTY):
        bad = MetadataFilters(filters=[MetadataFilter(key="parity", value="o", operator=operator)])
        with pytest.raises(ValueError, match=operator.value):
            ask(store, nodes()[0], filters=bad)


def test_documents_and_nodes_restrict(store: AttarVectorStore) -> None:
    first = nodes()[0]
    assert set(ask(store, first, doc_ids=["doc1"])) == {f"n{i}" for i in range(1, 60, 5)}
    everything = ask(store, first)
    some = ["n3", "n5", "n30", "nobody"]
    assert (
        ask(store, first, node_ids=some, similarity_top_k=2)
        == [name for name in everything if name in some][:2]
    )


def test_modes(store: AttarVectorStore) -> None:
    first = nodes()[0]
    relevant = ask(store, first, similarity_top_k=5)
    mmr = VectorStoreQueryMode.MMR
    assert ask(store, first, similarity_top_k=5, mode=mmr, mmr_threshold=1.0) == relevant
    assert ask(store, first, similarity_top_k=5, mode=mmr, mmr_threshold=0.0) != relevant
    words = {"query_str": "41", "similarity_top_k": 3}
    assert ask(store, first, mode=VectorStoreQueryMode.TEXT_SEARCH, **words) == ["n41"]
    assert "n41" in ask(store, first, mode=VectorStoreQueryMode.HYBRID, **words)
    with pytest.raises(ValueError, match="'svm'"):
        ask(store, first, mode=VectorStoreQueryMode.SVM)


async def test_async_equals_sync(store: AttarVectorStore) -> None:
    query = VectorStoreQuery(query_embedding=nodes()[4].embedding, similarity_top_k=7)
    assert (await store.aquery(query)).ids == store.query(query).ids


def test_adding_again_replaces_and_deleting_deletes() -> None:
    store = AttarVectorStore()
    store.add(nodes(20))
    changed = nodes(20)[3]
    changed.set_content("new")
    store.add([changed])
    assert [n.get_content() for n in store.get_nodes(["n3"])] == ["new"]
    store.delete("doc3")
    assert {n.node_id for n in store.get_nodes()} == {f"n{i}" for i in range(20) if i % 5 != 3}
    store.delete_nodes()
    store.delete_nodes(["n0", "nobody"])
    odd = MetadataFilters(filters=[MetadataFilter(key="parity", value="odd")])
    store.delete_nodes(filters=odd)
    assert {n.node_id for n in store.get_nodes()} == {"n2", "n4", "n6", "n10", "n12", "n14", "n16"}
    store.clear()
    assert ask(store, changed) == []
    assert store.add([]) == []


def test_an_index_is_built_reopened_and_refreshed(tmp_path: Path) -> None:
    texts = ["the river runs cold", "a steam engine turns", "roses in the walled garden"]
    documents = [Document(text=t, id_=f"d{i}") for i, t in enumerate(texts)]
    store = AttarVectorStore(tmp_path / "index", "int8")
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(
        documents, storage_context=context, embed_model=Hashed()
    )
    assert index.as_retriever(similarity_top_k=1).retrieve("cold river")[0].text == texts[0]
    index.delete_ref_doc("d0")
    store.close()
    again = VectorStoreIndex.from_vector_store(
        AttarVectorStore(tmp_path / "index"), embed_model=Hashed()
    )
    found = again.as_retriever(similarity_top_k=3).retrieve("steam engine")
    assert [n.text for n in found][0] == texts[1]
    assert len(found) == 2


async def test_the_retriever_serves_a_store_built_otherwise(tmp_path: Path) -> None:
    encoder = attar.encoder("tests.attar.hashed:embed")
    texts = ["the river runs cold", "a steam engine turns"]
    with attar.Store.create(tmp_path / "index", "int8", encoder=encoder) as store:
        store.add(["a", "b"], texts=texts, metadata=[{"n": 1}, {"n": 2}])
        retriever = AttarRetriever(store, k=2)
        found = retriever.retrieve("steam engine")
        assert [(n.node_id, n.text, n.metadata) for n in found] == [
            ("b", texts[1], {"n": 2}),
            ("a", texts[0], {"n": 1}),
        ]
        assert found[0].score > found[1].score
        assert await retriever.aretrieve("steam engine") == found
        only = AttarRetriever(store, k=2, filter={"n": 1}).retrieve("steam engine")
        assert [n.node_id for n in only] == ["a"]
        with pytest.raises(ValueError, match="k is at least 1"):
            AttarRetriever(store, k=0)


def test_a_temporary_store_goes_with_its_owner() -> None:
    store = AttarVectorStore()
    folder = store.client.path.parent
    assert folder.is_dir()
    del store
    assert not folder.exists()
