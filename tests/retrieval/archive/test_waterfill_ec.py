"""The code made for archives: the size that was asked for, and more quality at that size."""

import numpy as np
import pytest

import attar
from attar.retrieval.archive import pack_codes, predict_size
from attar.retrieval.levels import TAPS
from attar.retrieval.weighted_transform import weighted_transform
from attar.stores.kernels.trellis import gaussian_rates, quantise_uniform
from tests.retrieval.waterfill.test_waterfill import embeddings, scores_of


@pytest.mark.parametrize("spec", ["waterfill:ec@8x", "waterfill:ec@1.5bpd", "waterfill:ec@20B"])
def test_an_archive_has_the_size_that_was_asked_for(spec: str) -> None:
    x = embeddings(9000)
    codec = attar.codec(spec).fit(x[:3000])
    size = {"8x": 48, "1.5bpd": 18, "20B": 20}[spec.split("@")[1]]
    packed = len(pack_codes(codec.encode(x), codec.layout)) / len(x)
    assert packed == pytest.approx(size, rel=0.08)
    assert codec.quantizer.expected_bytes == pytest.approx(size, rel=0.01)


def test_scores_are_better_than_those_of_the_fixed_length_code_of_that_size() -> None:
    x, q = embeddings(6000), embeddings(40, seed=1)
    exact = q @ x.T
    fixed = attar.codec("waterfill@16x").fit(x[:3000])
    coded = attar.codec("waterfill:ec@16x").fit(x[:3000])
    assert len(pack_codes(coded.encode(x), coded.layout)) <= 1.06 * fixed.bytes_per_vector * len(x)
    errors = [np.mean((scores_of(codec, x, q) - exact) ** 2) for codec in (fixed, coded)]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("eps", [0.2, 0.1, 0.05])
def test_size_is_predicted_before_anything_is_encoded(eps: float) -> None:
    x = embeddings(8000)
    predicted = predict_size(x[:2500], eps, n=len(x))
    codec = attar.codec(f"waterfill:ec@{predicted.bits_per_vector / 96:.6f}bpd").fit(x[:2500])
    codes = codec.encode(x)
    real = len(pack_codes(codes, codec.layout))
    assert predicted.nbytes == pytest.approx(real, rel=0.1)
    fitted = codec.quantizer
    transform = weighted_transform(x[:2500], None)
    coords = (x - transform.mean) @ transform.analysis
    error = coords.copy()
    levels = codec.layout.unpack(codes)
    y = levels.y * levels.factor[:, None] * np.float32(fitted.half_step)
    error[:, : codec.layout.dim] -= y
    share = np.sqrt(np.mean(np.sum(error**2, axis=1)) / np.mean(np.sum(coords**2, axis=1)))
    assert share == pytest.approx(eps, rel=0.15)


@pytest.mark.parametrize("n", [120, 240])
def test_the_documents_of_a_small_sample_take_less_than_those_to_come(n: int) -> None:
    x = embeddings(240)
    predicted = predict_size(x[:120], 0.05, n=n)
    codec = attar.codec(f"waterfill:ec@{predicted.bits_per_vector / 96:.6f}bpd").fit(x[:120])
    real = len(pack_codes(codec.encode(x[:n]), codec.layout))
    assert predicted.nbytes == pytest.approx(real, rel=0.18)


def test_a_sample_is_part_of_what_is_counted() -> None:
    with pytest.raises(ValueError, match="n counts the 120 documents"):
        predict_size(embeddings(120), 0.05, n=100)


def test_integers_lie_on_the_trellis_and_price_makes_them_smaller() -> None:
    deviation = np.linspace(6, 0.8, 40)
    u = (np.random.default_rng(0).normal(size=(200, 40)) * deviation).astype(np.float32)
    limit = np.full(40, 127, np.float32)
    rate = gaussian_rates(deviation)
    free = quantise_uniform(u, limit, rate, 0.0, TAPS)
    priced = quantise_uniform(u, limit, rate, 0.6, TAPS)
    assert np.mean((u - free) ** 2) < 0.55
    assert np.mean((u - free) ** 2) < np.mean((u - priced) ** 2) < 0.9
    assert np.abs(priced).mean() < np.abs(free).mean()
    far = quantise_uniform(u * 1e6, limit, rate, 0.4, TAPS)
    assert np.abs(far).max() <= 127


def test_refusals() -> None:
    x = embeddings(50)
    with pytest.raises(ValueError, match="eps"):
        predict_size(x, 1.5)
    with pytest.raises(ValueError, match="change the size"):
        attar.codec("waterfill:ec@500B").fit(x)
    with pytest.raises(ValueError, match="Known parts"):
        attar.codec("waterfill:ec@8y")
