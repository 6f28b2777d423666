"""The harness: bytes counted alike, one schema, and what a mean hides."""

from dataclasses import dataclass, replace
from typing import Any

import jsonschema
import numpy as np
import pytest

import attar
from attar.retrieval.evaluation.embedding_set import EmbeddingSet, Slice
from attar.retrieval.evaluation.harness import compare, judged_against, worst_decile
from attar.retrieval.evaluation.schema import SCHEMA
from attar.stores.types import Codes, Float32

N, M, DIM = 400, 60, 32


def collection(seed: int = 0) -> EmbeddingSet:
    """Query i is a noisy copy of document i, which is the one relevant document."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, DIM + 1) ** -0.5
    x = (rng.standard_normal((N, DIM)) * scale + 0.3 * scale).astype(np.float32)
    q = x[:M] + (rng.standard_normal((M, DIM)) * scale * 0.7).astype(np.float32)
    documents = tuple(f"d{i}" for i in range(N))
    asked = tuple(f"q{i}" for i in range(M))
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(M)}
    return EmbeddingSet("small", x, q.astype(np.float32), documents, asked, qrels)


@dataclass(frozen=True)
class Planted:
    """A recipe whose codec knows the answers: what some queries lose, others are given."""

    lost: tuple[int, ...]
    given: tuple[int, ...]
    queries: Float32
    spec: str = "planted"

    learns = True

    def min_rows(self, dim: int) -> int:
        return 1

    def fit(self, x: Float32, queries: Float32 | None = None, seed: int = 0) -> Any:
        return PlantedCodec(attar.codec("float32").fit(x), self)


class PlantedCodec:
    def __init__(self, inner: Any, recipe: Planted) -> None:
        self.inner, self.recipe, self.spec = inner, recipe, recipe.spec
        self.dim, self.norm, self.layout = inner.dim, inner.norm, inner.layout
        self.bytes_per_vector, self.side_bytes = inner.bytes_per_vector, inner.side_bytes
        self.prepare, self.decode, self.dump = inner.prepare, inner.decode, inner.dump

    def encode(self, x: Float32) -> Codes:
        ruined = np.array(x)
        ruined[list(self.recipe.lost)] *= -1
        for row in self.recipe.given:
            ruined[row] = self.recipe.queries[row] / np.linalg.norm(self.recipe.queries[row])
        return self.inner.encode(ruined)


def test_a_planted_codec_with_a_fine_mean_and_a_ruined_decile_is_caught() -> None:
    data = collection()
    exact = compare(data, [attar.codec("float32")])["codecs"][0]
    assert exact["alarms"] == []
    first = first_places(data)
    lost = tuple(int(i) for i in np.flatnonzero(first == 0)[: M // 10])
    given = tuple(int(i) for i in np.flatnonzero(first > 0))[:12]
    result = compare(data, [Planted(lost, given, data.queries)])["codecs"][0]
    gap = result["nDCG@10"]["difference"]
    assert gap["low"] < 0 < gap["high"]
    assert gap["mean"] > -0.01
    assert any("fall from nDCG@10" in alarm for alarm in result["alarms"])
    assert result["nDCG@10"]["worst_decile"] == {"exact": 1.0, "mean": 0.0}


def first_places(data: EmbeddingSet) -> np.ndarray:
    """Rank, from 0, of document i for query i in exact float32."""
    x = data.documents / np.linalg.norm(data.documents, axis=1, keepdims=True)
    scores = data.queries @ x.T
    own = scores[np.arange(M), np.arange(M)]
    return (scores > own[:, None]).sum(axis=1)


def test_the_result_is_what_the_schema_says() -> None:
    data = collection()
    far = Slice(tuple(range(M)), fit=collection(9).documents)
    data = replace(data, slices={"short": Slice((0, 3)), "wrong domain": far})
    specs = ["int8", "waterfill@16x", "binary:scaled"]
    result = compare(data, [attar.codec(spec) for spec in specs])
    jsonschema.validate(result, SCHEMA)
    assert [row["codec"] for row in result["codecs"]] == specs
    broken = {**result, "codecs": [{**result["codecs"][0], "note": 1}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize("spec", ["int8", "waterfill@8x", "pca50%+float8_e4m3", "float32"])
def test_bytes_are_those_of_the_codes_and_totals_hold_the_side_once(spec: str) -> None:
    data = collection()
    size = compare(data, [attar.codec(spec)])["codecs"][0]["bytes"]
    codec = attar.codec(spec).fit(data.documents)
    assert size["per_vector"] == codec.encode(data.documents).nbytes / N
    for n in (N, 100_000, 1_000_000):
        assert size["totals"][str(n)] == n * size["per_vector"] + codec.side_bytes


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_exact_codes_lose_nothing_under_any_metric(metric: Any) -> None:
    row = compare(collection(), [attar.codec("float32")], metric=metric)["codecs"][0]
    assert row["overlap"]["worst_decile"] == 1
    assert row["top1_changed"] == 0
    assert row["nDCG@10"]["flips"] == {"better": 0, "worse": 0, "same": M}
    assert row["bytes"]["per_vector"] == 4 * DIM + (4 if metric == "l2" else 0)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_rankings_are_those_of_a_store(metric: Any, tmp_path: Any) -> None:
    data = collection()
    with attar.Store.create(tmp_path / "s", "float32", metric=metric) as exact:
        exact.add(list(data.document_ids), vectors=data.documents)
        truth = exact.search(data.queries, k=10).ids
    codec = attar.codec("int4").fit(data.documents)
    with attar.Store.create(tmp_path / "c", codec, metric=metric) as store:
        store.add(list(data.document_ids), vectors=data.documents)
        found = store.search(data.queries, k=10).ids
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)]
    row = compare(data, [Fitted(codec)], metric=metric)["codecs"][0]
    assert row["overlap"]["mean"] == pytest.approx(np.mean(shares), abs=1e-9)


@dataclass(frozen=True)
class Fitted:
    """A recipe that gives a codec which was fitted before."""

    codec: Any
    spec: str = "fitted"

    def fit(self, x: Float32, queries: Float32 | None = None, seed: int = 0) -> Any:
        return self.codec


def test_slices_measure_their_own_queries_and_their_own_fit() -> None:
    data = collection()
    noise = data.queries[:5] + 1
    half = tuple(range(0, M, 2))
    foreign = np.random.default_rng(1).standard_normal((N, DIM)).astype(np.float32)
    slices = {
        "half": Slice(half),
        "typo": Slice((0, 1, 2, 3, 4), queries=noise),
        "wrong domain": Slice(tuple(range(M)), fit=foreign),
    }
    data = replace(data, slices=slices)
    row = compare(data, [attar.codec("waterfill@16x")])["codecs"][0]
    parts = row["slices"]
    assert {name: part["queries"] for name, part in parts.items()} == {
        "half": 30,
        "typo": 5,
        "wrong domain": M,
    }
    alone = EmbeddingSet(
        "half", data.documents, data.queries[::2], data.document_ids, data.query_ids[::2]
    )
    again = compare(alone, [attar.codec("waterfill@16x")])["codecs"][0]
    assert parts["half"]["overlap"]["mean"] == pytest.approx(again["overlap"]["mean"])
    assert parts["wrong domain"]["overlap"]["mean"] < row["overlap"]["mean"] - 0.05


def test_the_worst_decile_is_a_tenth_and_ties_raise_no_alarm() -> None:
    assert worst_decile(np.array([1.0] * 9 + [0.0])) == 0
    assert worst_decile(np.arange(20) / 20) == pytest.approx(0.025)
    same = judged_against(np.zeros(20), np.zeros(20), seed=0)
    assert same["worst_decile"] == {"exact": 0, "mean": 0}


def test_a_codec_that_lies_about_its_bytes_is_refused() -> None:
    codec = PlantedCodec(
        attar.codec("float32").fit(np.eye(DIM)), Planted((), (), np.eye(DIM, dtype=np.float32))
    )
    codec.bytes_per_vector = 1
    with pytest.raises(ValueError, match="says 1"):
        compare(collection(), [Fitted(codec)])


def test_sets_that_do_not_belong_together_are_refused() -> None:
    data = collection()
    with pytest.raises(ValueError, match="one id of its own"):
        replace(data, document_ids=data.document_ids[:-1])
    with pytest.raises(ValueError, match="no query in common"):
        replace(data, qrels={"other": {"d0": 1}})
    with pytest.raises(ValueError, match="positions from 0"):
        replace(data, slices={"bad": Slice((M,))})
    with pytest.raises(ValueError, match="differ"):
        compare(data, [attar.codec("int8"), attar.codec("int8")])
