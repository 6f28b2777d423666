"""AttarDocumentStore and its retriever beyond the suite: pipelines, policies, reopening."""

from pathlib import Path

import numpy as np
import pytest
from haystack import Pipeline
from haystack.dataclasses import ByteStream, Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError

from attar.retrieval.haystack import AttarDocumentStore, AttarEmbeddingRetriever

DIM = 32


def documents(count: int = 50) -> list[Document]:
    rng = np.random.default_rng(0)
    return [
        Document(
            id=f"d{i}",
            content=f"text {i}",
            meta={"number": i, "third": i % 3},
            embedding=rng.standard_normal(DIM).tolist(),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("codec", ["float32", "waterfill@8x", "waterfill@32x"])
def test_retrieval_across_training_and_reopening(codec: str, tmp_path: Path) -> None:
    path, world = str(tmp_path / "index"), documents()
    store = AttarDocumentStore(path, codec, train_at=30)
    places = []
    for start in range(0, 50, 10):
        store.write_documents(world[start : start + 10])
        found = store.embedding_retrieval(world[start].embedding, top_k=3)
        places.append([d.id for d in found].index(world[start].id))
        assert found[0].score >= found[1].score >= found[2].score
        assert found[0].embedding is None
    # At 32x two bytes of code stand for 32 white coordinates: nine in ten are first themselves.
    assert places.count(0) >= (4 if codec == "waterfill@32x" else 5)
    store.write_documents([Document(id="bare", content="no embedding", meta={"number": 7})])
    store.close()
    again = AttarDocumentStore(path)
    assert again.count_documents() == 51
    seven = {"field": "meta.number", "operator": "==", "value": 7}
    assert {d.id for d in again.filter_documents(seven)} == {"d7", "bare"}
    found = again.embedding_retrieval(world[7].embedding, filters=seven, return_embedding=True)
    assert [d.id for d in found] == ["d7"]
    x, y = np.array(found[0].embedding), np.array(world[7].embedding)
    assert x @ y / np.linalg.norm(x) / np.linalg.norm(y) > 0.5
    again.close()


def test_a_document_moves_when_its_embedding_comes_or_goes() -> None:
    store = AttarDocumentStore()
    bare, full = Document(id="a", content="x"), Document(id="a", content="y", embedding=[1.0, 0.0])
    for document in (bare, full, bare):
        store.write_documents([document], DuplicatePolicy.OVERWRITE)
        assert [d.content for d in store.filter_documents()] == [document.content]
        found = store.embedding_retrieval([1.0, 0.0])
        assert len(found) == (document.embedding is not None)


def test_nothing_is_written_when_one_document_is_refused() -> None:
    store = AttarDocumentStore()
    one, two = documents(2)
    store.write_documents([one])
    with pytest.raises(DuplicateDocumentError, match="'d0' already exists"):
        store.write_documents([two, one])
    with pytest.raises(DuplicateDocumentError):
        store.write_documents([two, two], DuplicatePolicy.FAIL)
    with pytest.raises(ValueError, match="'d1' has a blob"):
        store.write_documents([Document(id="d1", blob=ByteStream(b"x"))])
    assert store.count_documents() == 1
    assert store.write_documents([one, two, two], DuplicatePolicy.SKIP) == 1
    assert store.count_documents() == 2


def test_recreating_forgets_the_dimension() -> None:
    store = AttarDocumentStore()
    store.write_documents(documents(3))
    store.delete_all_documents()
    with pytest.raises(ValueError, match="32 dimensions"):
        store.write_documents([Document(id="x", embedding=[1.0, 2.0])])
    store.delete_all_documents(recreate_index=True)
    assert store.write_documents([Document(id="x", embedding=[1.0, 2.0])]) == 1


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"field": "content", "operator": "==", "value": "x"}, "'content'"),
        ({"field": "meta.a", "operator": "like", "value": "x"}, "'like'"),
        ({"field": "meta.a", "operator": "==", "value": [1]}, r"\$contains"),
        ({"field": "meta.a", "operator": ">", "value": "tomorrow"}, "ISO"),
        ({"operator": "XOR", "conditions": []}, "'XOR'"),
    ],
)
def test_filters_that_cannot_be_said_are_refused(condition: dict, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        AttarDocumentStore().filter_documents(condition)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"operator": "AND", "conditions": []}, {"a", "b"}),
        ({"operator": "OR", "conditions": []}, set()),
        ({"operator": "NOT", "conditions": []}, set()),
        ({"field": "x", "operator": "in", "value": []}, set()),
        ({"field": "x", "operator": "not in", "value": []}, {"a", "b"}),
        ({"field": "x", "operator": "in", "value": [None, 5]}, {"b"}),
        ({"field": "meta.x", "operator": "not in", "value": [None]}, {"a"}),
    ],
)
def test_empty_and_missing(condition: dict, ids: set[str]) -> None:
    store = AttarDocumentStore()
    store.write_documents([Document(id="a", meta={"x": 1}), Document(id="b", meta={})])
    assert {d.id for d in store.filter_documents(condition)} == ids


async def test_a_pipeline_survives_yaml(tmp_path: Path) -> None:
    store = AttarDocumentStore(str(tmp_path / "index"), "int8")
    store.write_documents(documents())
    low = {"field": "meta.number", "operator": "<", "value": 30}
    third = {"field": "meta.third", "operator": "==", "value": 2}
    retriever = AttarEmbeddingRetriever(store, low, 50, filter_policy=FilterPolicy.MERGE)
    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    question = {"query_embedding": documents()[20].embedding, "filters": third}
    found = pipeline.run({"retriever": question})["retriever"]["documents"]
    assert found[0].id == "d20"
    assert {d.id for d in found} == {f"d{i}" for i in range(2, 30, 3)}
    assert (await retriever.run_async(**question))["documents"] == found
    assert len(retriever.run(question["query_embedding"], top_k=2)["documents"]) == 2
    text = pipeline.dumps()
    store.close()
    # Haystack loads classes of other packages only from modules that it is told to trust.
    loaded = Pipeline.loads(text, allowed_modules=["attar.*"])
    assert loaded.run({"retriever": question})["retriever"]["documents"] == found
    assert loaded.dumps() == text


def test_bad_components_are_refused() -> None:
    with pytest.raises(TypeError, match="AttarDocumentStore"):
        AttarEmbeddingRetriever("index")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k is at least 1"):
        AttarEmbeddingRetriever(AttarDocumentStore(), top_k=0)
