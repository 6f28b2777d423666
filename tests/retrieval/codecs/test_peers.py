"""Our score formula on the codes of faiss gives the scores that faiss itself gives."""

from typing import Any

import faiss
import numpy as np
import pytest

import attar
from attar.retrieval.codec import FittedCodec
from attar.retrieval.quantizers.faiss_index import FittedFaiss
from attar.retrieval.quantizers.rabitq import FittedRaBitQ, rabitq_index
from attar.stores.score import scores
from tests.retrieval.codecs.methods import documents


def ours(codec: FittedCodec, x: np.ndarray, q: np.ndarray) -> np.ndarray:
    levels, query = codec.layout.unpack(codec.encode(x)), codec.prepare(q)
    return np.stack([scores(c, k, levels) for c, k in zip(query.coords, query.const, strict=True)])


def theirs(index: Any, x: np.ndarray, q: np.ndarray) -> np.ndarray:
    index.add(x)
    values, places = index.search(q, len(x))
    result = np.zeros_like(values)
    np.put_along_axis(result, places, values, axis=1)
    return result


@pytest.mark.parametrize("dim", [24, 33])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 9])
def test_rabitq_scores_are_those_of_its_index(bits: int, dim: int) -> None:
    x, q = documents(80, dim) * np.float32(2), documents(6, dim, seed=1)
    codec = attar.codec(f"rabitq{bits}").fit(x)
    part = codec.quantizer
    assert isinstance(part, FittedRaBitQ)
    want = theirs(rabitq_index(part.center, bits), x @ part.rotation, q @ part.rotation)
    np.testing.assert_allclose(ours(codec, x, q), want, atol=1e-4)


@pytest.mark.parametrize("spec", ["eden1", "eden4", "sq4", "sq6", "sq8", "pq6x4", "opq6x4"])
def test_scores_are_those_of_the_index(spec: str) -> None:
    x, q = documents(80) * np.float32(2), documents(6, seed=1)
    codec = attar.codec(spec).fit(x)
    part = codec.quantizer
    assert isinstance(part, FittedFaiss)
    rotation = np.eye(x.shape[1], dtype=np.float32) if part.rotation is None else part.rotation
    index = faiss.deserialize_index(np.frombuffer(part.layout.content, np.uint8))
    want = theirs(index, np.ascontiguousarray(x @ rotation), np.ascontiguousarray(q @ rotation))
    np.testing.assert_allclose(ours(codec, x, q), want, atol=1e-4)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_turboquant_scores_are_those_of_unit_vectors_times_the_norm(bits: int) -> None:
    x, q = documents(80), documents(6, seed=1)
    lengths = np.linspace(0.5, 4, len(x), dtype=np.float32)[:, None]
    codec = attar.codec(f"turboquant{bits}").fit(x)
    part = codec.quantizer
    assert isinstance(part, FittedFaiss) and part.rotation is not None
    index = faiss.deserialize_index(np.frombuffer(part.layout.content, np.uint8))
    want = theirs(index, x @ part.rotation, q @ part.rotation) * lengths.T
    np.testing.assert_allclose(ours(codec, x * lengths, q), want, atol=5e-3)


def test_more_bits_keep_more() -> None:
    x, q = documents(400), documents(20, seed=1)
    exact = q @ x.T
    for word in ("rabitq{}", "eden{}", "turboquant{}", "pq{}x4"):
        errors = []
        for amount in (2, 4, 8):
            codec = attar.codec(word.format(amount)).fit(x)
            errors.append(np.abs(ours(codec, x, q) - exact).mean())
        assert errors == sorted(errors, reverse=True), (word, errors)
