"""AttarRetriever against langchain-core and its standard suite, over a real store."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import RetrieversIntegrationTests

import attar
from attar.retrieval.langchain import AttarRetriever

TEXTS = {
    "river": "The river runs cold from the mountain to the sea.",
    "engine": "A steam engine turns heat into motion.",
    "garden": "Roses and herbs grow in the walled garden.",
    "stone": "The mason cut the stone for the bridge over the river.",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("store") / "index"
    encoder = attar.encoder("tests.attar.hashed:embed")
    with attar.Store.create(path, "int8", encoder=encoder) as made:
        made.add(
            list(TEXTS),
            texts=list(TEXTS.values()),
            metadata=[{"length": len(text)} for text in TEXTS.values()],
        )
    with attar.open(path, encoder=encoder) as opened:
        yield opened


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self, store: Any) -> None:
        type(self).opened = store

    @property
    def retriever_constructor(self) -> type[AttarRetriever]:
        return AttarRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.opened}

    @property
    def retriever_query_example(self) -> str:
        return "cold river"


def test_documents_carry_id_text_metadata_and_score(store: Any) -> None:
    found = AttarRetriever(store=store, k=3).invoke("the cold river of the mountain")
    assert found[0].id == "river"
    assert found[0].page_content == TEXTS["river"]
    assert found[0].metadata["length"] == len(TEXTS["river"])
    scores = [document.metadata["score"] for document in found]
    assert scores == sorted(scores, reverse=True)


def test_arguments_of_a_call_win(store: Any) -> None:
    retriever = AttarRetriever(store=store, k=3, filter={"length": len(TEXTS["garden"])})
    assert [d.id for d in retriever.invoke("river")] == ["garden"]
    assert len(retriever.invoke("river", None, filter=None, k=2)) == 2


async def test_it_composes_and_runs_async(store: Any) -> None:
    def join(found: list[Document]) -> str:
        return "\n".join(document.page_content for document in found)

    chain = AttarRetriever(store=store, k=1) | RunnableLambda(join)
    assert await chain.ainvoke("steam engine") == TEXTS["engine"]
    assert chain.batch(["walled garden", "steam engine"]) == [TEXTS["garden"], TEXTS["engine"]]


def test_bad_arguments_are_refused(store: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        AttarRetriever(store=store, k=0)
    with attar.Store.create(tmp_path / "bare", "int8") as bare:
        bare.add(["a"], vectors=[[1.0, 0.0]])
        with pytest.raises(ValueError, match="encoder"):
            AttarRetriever(store=bare).invoke("anything")
