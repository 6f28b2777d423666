"""What LangChain's face costs over a retriever that does nothing, above the search itself."""

import tempfile
import zlib
from pathlib import Path

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

import attar
from attar.retrieval.encoders import PythonCallable
from attar.retrieval.langchain import AttarRetriever
from bench.machine import interleaved
from bench.registry import Result, bench

DIM, K = 64, 10


class NullRetriever(BaseRetriever):
    """Returns ten prepared Documents."""

    prepared: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.prepared


def embed(texts: list[str]) -> np.ndarray:
    """A vector per text, from a table: what a model costs is not the question here."""
    return np.stack([TABLE[zlib.crc32(text.encode()) % len(TABLE)] for text in texts])


TABLE = np.random.default_rng(0).standard_normal((512, DIM)).astype(np.float32)


@bench("ecosystem/langchain", gate="tests/retrieval/langchain")
def langchain(quick: bool) -> Result:
    """CPU seconds of the same questions, in turn."""
    asked, rounds = (100, 3) if quick else (300, 5)
    encoder = PythonCallable(embed, name="table", fingerprint="table")
    questions = [f"question {i}" for i in range(asked)]
    with tempfile.TemporaryDirectory() as folder:
        with attar.Store.create(Path(folder) / "store", "float32", encoder) as store:
            names = [f"d{i}" for i in range(1000)]
            rng = np.random.default_rng(1)
            vectors = rng.standard_normal((1000, DIM))
            texts = ["A passage of some length. " * 20] * 1000
            store.add(names, vectors, texts, [{"source": name} for name in names])
        with attar.open(Path(folder) / "store", encoder=encoder) as store:
            ours = AttarRetriever(store=store, k=K)
            null = NullRetriever(prepared=ours.invoke(questions[0]))
            arms = {
                "null retriever": lambda: [null.invoke(q) for q in questions],
                "Store.search": lambda: [store.search(text=q, k=K) for q in questions],
                "AttarRetriever": lambda: [ours.invoke(q) for q in questions],
            }
            seconds = interleaved(arms, rounds)
    ms = {arm: 1000 * times["median"] / asked for arm, times in seconds.items()}
    over = ms["AttarRetriever"] - ms["null retriever"] - ms["Store.search"]
    rows = [{"arm": arm, "ms per query": value} for arm, value in ms.items()]
    rows.append({"arm": "AttarRetriever over both", "ms per query": over})
    bar = "LangChain costs less than 0.3 ms per query beyond a null retriever and the search"
    return Result(
        rows,
        {"documents": 1000, "questions": asked, "rounds": rounds, "k": K, "clock": "CPU ms"},
        {"overhead ms": {"bar": bar, "measured": round(over, 4), "met": over < 0.3}},
    )
