"""AttarVectorStore beyond the standard suite: training, reopening, filters, indexing, threads."""

import asyncio
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index

import attar
from attar.retrieval.langchain import AttarEmbeddings, AttarVectorStore

EMBEDDINGS = DeterministicFakeEmbedding(size=64)
CODECS = ("float32", "waterfill@8x", "waterfill@32x")
TRAIN_AT = 40


def some(count: int, start: int = 0) -> list[Document]:
    return [
        Document(id=f"d{i}", page_content=f"text {i}", metadata={"number": i, "odd": i % 2 == 1})
        for i in range(start, start + count)
    ]


@pytest.fixture(scope="module")
def filled() -> Iterator[AttarVectorStore]:
    with AttarVectorStore(EMBEDDINGS) as store:
        store.add_documents(some(60))
        yield store


@pytest.mark.parametrize("codec", CODECS)
def test_laws_hold_across_the_moment_of_training(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "store"
    world: dict[str, Document] = {}

    def check(store: AttarVectorStore) -> None:
        assert len(store.store) == len(world)
        assert store.get_by_ids([*world, "nobody"]) == list(world.values())
        for name in (next(iter(world)), next(reversed(world))):
            assert store.similarity_search(world[name].page_content, k=1) == [world[name]]
        odd = store.similarity_search("text 3", k=100, filter={"odd": True})
        assert {d.id for d in odd} == {d.id for d in world.values() if d.metadata["odd"]}

    with AttarVectorStore(EMBEDDINGS, path, codec, train_at=TRAIN_AT) as store:
        for start in range(0, 60, 12):
            new = some(12, start)
            assert store.add_documents(new) == [d.id for d in new]
            world |= {d.id: d for d in new}
            # The same ids with other texts and metadata; they move to the end.
            for name in [f"d{start}", f"d{start // 2}"]:
                world.pop(name)
                world[name] = Document(
                    id=name, page_content=f"new {name} {start}", metadata={"odd": True}
                )
                store.add_documents([world[name]])
            check(store)
        assert store.store.info()["serving"] == attar.codec(codec).spec
        store.delete(["d7", "nobody"])
        del world["d7"]
        check(store)
    with AttarVectorStore(EMBEDDINGS, path) as store:
        check(store)
        store.add_documents(some(1, 100))
        world["d100"] = some(1, 100)[0]
        check(store)


def test_ids_of_the_call_then_of_the_document_then_new_ones() -> None:
    with AttarVectorStore(EMBEDDINGS) as store:
        first, second = Document(page_content="a", id="own"), Document(page_content="b")
        assert store.add_documents([first], ids=["given"]) == ["given"]
        names = store.add_documents([first, second])
        assert names[0] == "own"
        assert len(names[1]) == 36
        assert second.id is None
        with pytest.raises(ValueError, match="one entry per document: 2 documents, 1 ids"):
            store.add_documents([first, second], ids=["x"])
        assert store.add_documents([]) == []


def test_the_last_of_equal_ids_counts() -> None:
    with AttarVectorStore(EMBEDDINGS) as store:
        assert store.add_texts(["first", "second"], ids=["a", "a"]) == ["a", "a"]
        assert [d.page_content for d in store.get_by_ids(["a"])] == ["second"]


def test_deleting_without_ids_empties_the_store() -> None:
    with AttarVectorStore.from_texts(["a", "b"], EMBEDDINGS) as store:
        assert store.delete()
        assert store.similarity_search("a") == []


def test_scores_are_cosines_and_sorted(filled: AttarVectorStore) -> None:
    found = filled.similarity_search_with_score("text 5", k=60)
    q = np.array(EMBEDDINGS.embed_query("text 5"))
    for document, score in found:
        x = np.array(EMBEDDINGS.embed_query(document.page_content))
        cosine = q @ x / np.linalg.norm(q) / np.linalg.norm(x)
        assert score == pytest.approx(cosine, abs=1e-5)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    assert filled.similarity_search_by_vector(q.tolist(), k=60) == [d for d, _ in found]


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_relevance_is_in_0_1_and_keeps_the_order(metric: str) -> None:
    with AttarVectorStore(EMBEDDINGS, metric=metric) as store:
        store.add_documents(some(30))
        with warnings.catch_warnings():
            # LangChain warns about a score outside [0, 1].
            warnings.simplefilter("error")
            found = store.similarity_search_with_relevance_scores("text 5", k=30)
        values = [score for _, score in found]
        assert all(0 <= value <= 1 for value in values)
        assert values == sorted(values, reverse=True)
        assert [d for d, _ in found] == store.similarity_search("text 5", k=30)
        least = values[4]
        close = store.as_retriever(
            search_type="similarity_score_threshold",
            search_kwargs={"k": 30, "score_threshold": least},
        ).invoke("text 5")
        assert len(close) == 5


def test_retrievers_take_k_filter_and_mmr(filled: AttarVectorStore) -> None:
    retriever = filled.as_retriever(search_kwargs={"k": 3, "filter": {"odd": False}})
    assert {d.metadata["odd"] for d in retriever.invoke("text 5")} == {False}
    assert len(retriever.invoke("text 5", k=7)) == 7
    mmr = filled.as_retriever(
        search_type="mmr", search_kwargs={"k": 4, "fetch_k": 30, "lambda_mult": 0.0}
    )
    diverse = mmr.invoke("text 5")
    assert diverse[0].page_content == "text 5"
    assert diverse != filled.similarity_search("text 5", k=4)
    relevant = filled.max_marginal_relevance_search("text 5", k=4, fetch_k=30, lambda_mult=1.0)
    assert relevant == filled.similarity_search("text 5", k=4)


def test_an_empty_filter_is_none_and_a_bad_one_is_refused(filled: AttarVectorStore) -> None:
    assert len(filled.similarity_search("text 5", filter={})) == 4
    with pytest.raises(ValueError, match=r"\$like"):
        filled.similarity_search("text 5", filter={"number": {"$like": 3}})
    with pytest.raises(ValueError, match="A filter is a non-empty object"):
        filled.similarity_search("text 5", filter=lambda d: True)  # type: ignore[arg-type]


async def test_async_equals_sync(filled: AttarVectorStore) -> None:
    assert await filled.asimilarity_search("text 9", k=5, filter={"odd": True}) == (
        filled.similarity_search("text 9", k=5, filter={"odd": True})
    )
    assert await filled.amax_marginal_relevance_search("text 9", k=5) == (
        filled.max_marginal_relevance_search("text 9", k=5)
    )
    made = await AttarVectorStore.afrom_texts(["a", "b"], EMBEDDINGS, ids=["1", "2"])
    with made:
        assert [d.id for d in await made.asimilarity_search("b", k=1)] == ["2"]


@pytest.mark.parametrize("cleanup", ["incremental", "full", "scoped_full"])
def test_indexing_api(cleanup: Any) -> None:
    records = InMemoryRecordManager(namespace="test")
    records.create_schema()
    documents = [
        Document(page_content=f"p{i}", metadata={"source": f"s{i // 2}"}) for i in range(6)
    ]
    with AttarVectorStore(EMBEDDINGS) as store:

        def run(some: list[Document]) -> dict[str, int]:
            return dict(
                index(
                    some,
                    records,
                    store,
                    cleanup=cleanup,
                    source_id_key="source",
                    key_encoder="sha256",
                )
            )

        assert run(documents)["num_added"] == 6
        assert run(documents)["num_skipped"] == 6
        changed = [documents[0], Document(page_content="new", metadata={"source": "s0"})]
        result = run(changed)
        assert (result["num_added"], result["num_skipped"]) == (1, 1)
        assert result["num_deleted"] == (5 if cleanup == "full" else 1)
        texts = {r.text for r in store.store.iter()}
        assert "new" in texts
        assert "p1" not in texts


async def test_indexing_api_async() -> None:
    records = InMemoryRecordManager(namespace="test")
    await records.acreate_schema()
    with AttarVectorStore(EMBEDDINGS) as store:
        result = await aindex(
            [Document(page_content="a")], records, store, cleanup="full", key_encoder="sha256"
        )
        assert result["num_added"] == 1


def test_one_instance_serves_threads_and_event_loops() -> None:
    with AttarVectorStore(EMBEDDINGS) as store:
        store.add_documents(some(20))

        def work(number: int) -> None:
            async def ask() -> None:
                await store.aadd_documents(some(2, 1000 + 2 * number))
                found = await store.asimilarity_search(f"text {1000 + 2 * number}", k=1)
                assert found[0].id == f"d{1000 + 2 * number}"

            asyncio.run(ask())
            store.delete([f"d{number}"])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(12)))
        names = {r.id for r in store.store.iter()}
        assert names == {d.id for d in some(8, 12) + some(24, 1000)}


def test_a_temporary_store_goes_with_its_owner() -> None:
    store = AttarVectorStore(EMBEDDINGS)
    store.add_documents(some(2))
    folder = store.store.path.parent
    assert folder.is_dir()
    del store
    assert not folder.exists()


def test_a_store_of_another_codec_or_metric_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    AttarVectorStore(EMBEDDINGS, path, "int8").close()
    with pytest.raises(ValueError, match=r"exists with the codec int8, got waterfill@8x"):
        AttarVectorStore(EMBEDDINGS, path, "waterfill@8x")
    with pytest.raises(ValueError, match=r"exists with the metric cosine, got l2"):
        AttarVectorStore(EMBEDDINGS, path, metric="l2")
    AttarVectorStore(EMBEDDINGS, path, "int8").close()


def test_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    hashed = AttarEmbeddings("tests.attar.hashed:embed")
    with AttarVectorStore(hashed, path) as store:
        store.add_texts(["a river"])

    def other(texts: list[str]) -> np.ndarray:
        return np.roll(np.array(hashed.embed_documents(list(texts)), np.float32), 1, axis=1)

    with pytest.raises(RuntimeError, match="Probe texts"):
        AttarVectorStore(AttarEmbeddings(other), path)
    with AttarVectorStore(DeterministicFakeEmbedding(size=8), path) as store:
        with pytest.raises(ValueError, match="48 dimensions"):
            store.add_texts(["a lake"])


def test_metadata_that_json_cannot_write_is_refused_and_named(filled: AttarVectorStore) -> None:
    bad = Document(id="bad", page_content="x", metadata={"when": object()})
    with pytest.raises(ValueError, match="id 'bad'"):
        filled.add_documents([bad])
    assert filled.get_by_ids(["bad"]) == []
