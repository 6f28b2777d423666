"""Real mteb over a BEIR folder: the same scores as the store gives, and float32 as mteb's own."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mteb.models import SearchEncoderWrapper
from mteb.models.model_meta import ModelMeta, ScoringFunction

import attar
from attar.retrieval.evaluation import evaluate_run
from attar.retrieval.mteb import AttarIndex, beir_task
from attar.retrieval.sources import read_qrels, read_queries, read_source
from tests.attar.hashed import embed

SCIFACT = Path(__file__).parents[2] / "examples" / "data" / "scifact"
COUNT = 400


class Model:
    """What mteb asks of an encoder; the vectors are hashed trigrams."""

    def __init__(self) -> None:
        meta = ModelMeta.create_empty()
        self.mteb_model_meta = meta.model_copy(
            update={"similarity_fn_name": ScoringFunction.COSINE, "name": "tests/hashed"}
        )

    def encode(self, inputs: Any, **options: Any) -> np.ndarray:
        return np.concatenate([embed(batch["text"]) for batch in inputs])

    def similarity(self, a: Any, b: Any) -> Any:
        import torch

        x, y = (np.asarray(v, np.float32) for v in (a, b))
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        return torch.from_numpy(x @ y.T)

    similarity_pairwise = similarity


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judged part of SciFact and a few more."""
    here = tmp_path_factory.mktemp("mteb") / "scifact"
    (here / "qrels").mkdir(parents=True)
    judged = {d for grades in read_qrels(SCIFACT).values() for d in grades}
    lines = gzip.open(SCIFACT / "corpus.jsonl.gz", "rt").read().splitlines()
    some = sorted(lines, key=lambda line: json.loads(line)["_id"] not in judged)[:COUNT]
    (here / "corpus.jsonl").write_text("\n".join(some))
    (here / "queries.jsonl").write_bytes(gzip.open(SCIFACT / "queries.jsonl.gz").read())
    (here / "qrels" / "test.tsv").write_text((SCIFACT / "qrels" / "test.tsv").read_text())
    return here


def scored(index: Any, folder: Path) -> float:
    import mteb

    model = SearchEncoderWrapper(Model(), index_backend=index)  # type: ignore[arg-type]
    result = mteb.evaluate(model, beir_task(folder), cache=None, show_progress_bar=False)
    return float(result.task_results[0].scores["test"][0]["ndcg_at_10"])


def test_mteb_scores_a_compressed_store(folder: Path, tmp_path: Path) -> None:
    got = scored(AttarIndex("pca50%+int8", path=tmp_path / "store"), folder)
    assert not (tmp_path / "store").exists(), "mteb clears an index that it has used"
    index, corpus = AttarIndex("pca50%+int8"), list(read_source(folder))
    index.add_documents(embed([d.text for d in corpus]), [d.id for d in corpus])
    qrels = read_qrels(folder)
    queries = {q: text for q, text in read_queries(folder).items() if q in qrels}
    x = embed(list(queries.values()))
    hits = index.store.search(x, 10).ids
    run = {q: list(row) for q, row in zip(queries, hits, strict=True)}
    want = float(evaluate_run(run, qrels).means()["nDCG@10"])
    assert got == pytest.approx(want, abs=1e-4)
    assert index.store.info()["serving"] == "pca50%+int8"
    assert len(index.store) == COUNT


def test_float32_scores_as_mteb_does_alone(folder: Path) -> None:
    assert scored(AttarIndex("float32"), folder) == pytest.approx(scored(None, folder), abs=1e-4)


def test_reranking_chooses_from_what_is_given() -> None:
    index = AttarIndex("float32")
    with pytest.raises(ValueError, match="no documents yet"):
        index.search(np.eye(3), 2)
    x = np.eye(4, dtype=np.float32)
    index.add_documents(x[:2], ["a", "b"])
    index.add_documents(x[2:], ["c", "d"])
    values, rows = index.search(x[[2, 0]] + 0.1, 2)
    assert [row[0] for row in rows] == [2, 0]
    assert values[0][0] > values[0][1]
    chosen = index.search(x[:1] + 0.1, 5, top_ranked={"q": ["d", "a"]}, query_idx_to_id={0: "q"})[1]
    assert chosen == [[1, 0]]
    with pytest.raises(ValueError, match="query_idx_to_id"):
        index.search(x[:1], 5, top_ranked={"q": ["d"]})
    index.clear()
    index.add_documents(x, list("wxyz"))
    assert len(index.store) == 4
    with pytest.raises(ValueError, match="d\\]"):
        index.search(x[0], 1)
    assert isinstance(index.store, attar.stores.store.Store)
