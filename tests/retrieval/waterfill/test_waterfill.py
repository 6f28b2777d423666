"""The codec as people use it: sizes, quality, queries, bad data, truncation."""

import numpy as np
import pytest

import attar
from attar.retrieval.quantizers import Waterfill
from attar.stores.types import Codes


def embeddings(n: int, dim: int = 96, seed: int = 0) -> np.ndarray:
    """Unit vectors about a mean, with a spectrum that falls as those of text encoders do."""
    rng = np.random.default_rng([seed, n])
    basis = np.linalg.qr(np.random.default_rng(7).normal(size=(dim, dim)))[0]
    spread = np.arange(1, dim + 1) ** -0.6
    x = (rng.normal(size=(n, dim)) * spread) @ basis + 0.8 * basis[3]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def scores_of(codec: object, x: np.ndarray, q: np.ndarray) -> np.ndarray:
    levels, query = codec.layout.unpack(codec.encode(x)), codec.prepare(q)
    return levels.factor * (query.coords @ levels.y.T) + query.const[:, None]


def overlap(exact: np.ndarray, got: np.ndarray, k: int = 10) -> float:
    first, second = np.argsort(-exact)[:, :k], np.argsort(-got)[:, :k]
    pairs = zip(first, second, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in pairs]))


@pytest.mark.parametrize(
    ("spec", "dim", "size"),
    [
        ("waterfill", 96, 48),
        ("waterfill@16x", 96, 24),
        ("waterfill@16x", 100, 25),
        ("waterfill@30x", 97, 12),
        ("waterfill@4bpd", 96, 48),
        ("waterfill@2.5bpd", 96, 30),
        ("waterfill@17B", 96, 17),
        ("pca32+waterfill@2bpd", 96, 24),
    ],
)
def test_sizes_refer_to_the_dimension_given_to_fit(spec: str, dim: int, size: int) -> None:
    x = embeddings(300, dim)
    codec = attar.codec(spec).fit(x)
    assert codec.bytes_per_vector == size
    assert codec.encode(x).nbytes == size * len(x)


def test_spelling() -> None:
    assert str(attar.codec("waterfill")) == "waterfill@8x"
    assert str(attar.codec("waterfill@2.50bpd")) == "waterfill@2.5bpd"
    for wrong in ("waterfill@", "waterfill@8", "waterfill@8X", "waterfill8x"):
        with pytest.raises(ValueError, match="Known parts"):
            attar.codec(wrong)
    with pytest.raises(ValueError, match="whole bytes"):
        attar.codec("waterfill@9.5B")
    with pytest.raises(ValueError, match="positive size"):
        Waterfill(0, "x")


@pytest.mark.parametrize("spec", ["waterfill@2B", "waterfill@99B", "waterfill@3x"])
def test_impossible_sizes_are_refused_with_a_size_that_works(spec: str) -> None:
    x = embeddings(50, 90)
    with pytest.raises(ValueError, match="3 to 98 bytes") as caught:
        attar.codec(spec).fit(x)
    remedy = str(caught.value).split("for example ")[1].rstrip(".")
    attar.codec(remedy).fit(x)


def test_beats_int4_and_truncated_float8_at_fewer_bytes() -> None:
    x, q = embeddings(1500), embeddings(60, seed=1)
    exact = q @ x.T
    got = {}
    for spec in ("waterfill@8x", "int4", "pca50%+float8_e4m3"):
        codec = attar.codec(spec).fit(x[:1000])
        assert codec.bytes_per_vector >= 48
        got[spec] = overlap(exact, scores_of(codec, x, q))
    assert got["waterfill@8x"] > 0.9
    assert got["waterfill@8x"] >= got["int4"] + 0.02
    assert got["waterfill@8x"] >= got["pca50%+float8_e4m3"] + 0.02


def test_sample_queries_move_bits_to_what_they_look_at() -> None:
    x = embeddings(1200)
    rng = np.random.default_rng(4)
    narrow = np.zeros((96, 96), np.float32)
    narrow[:24, :24] = np.eye(24)
    q = (rng.normal(size=(800, 96)) @ narrow).astype(np.float32)
    exact = q[400:] @ x.T
    blind = attar.codec("waterfill@16x").fit(x)
    aware = attar.codec("waterfill@16x").fit(x, queries=q[:400])
    blind_error = np.mean((scores_of(blind, x, q[400:]) - exact) ** 2)
    aware_error = np.mean((scores_of(aware, x, q[400:]) - exact) ** 2)
    assert aware_error < 0.6 * blind_error


def test_more_bytes_are_never_worse() -> None:
    x, q = embeddings(800), embeddings(40, seed=1)
    errors = []
    for size in (4, 8, 16, 32, 64, 98):
        codec = attar.codec(f"waterfill@{size}B").fit(x)
        errors.append(np.mean((scores_of(codec, x, q) - q @ x.T) ** 2))
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 2e-4 * errors[0]


def test_the_factor_helps_and_is_least_squares() -> None:
    x = embeddings(400)
    codec = attar.codec("waterfill@32x").fit(x)
    codes = codec.encode(x)
    fitted = codec.quantizer
    y = codec.layout.unpack(codes).y * fitted.deviation
    coords = (x - fitted.mean) @ fitted.analysis.values
    best = (coords * y).sum(axis=1) / (y * y).sum(axis=1)
    np.testing.assert_allclose(codes.fields["factor"][:, 0], best, rtol=2e-3)
    assert np.std(best) > 0.01


def test_dropping_planes_needs_no_new_query() -> None:
    x, q = embeddings(1500), embeddings(50, seed=1)
    codec = attar.codec("waterfill@8x").fit(x)
    codes, query, exact = codec.encode(x), codec.prepare(q), q @ x.T
    seen = []
    for dropped in reversed(range(len(codec.layout.counts))):
        layout = codec.layout.without(dropped)
        kept = Codes({field.name: codes.fields[field.name] for field in layout.fields})
        levels = layout.unpack(kept)
        got = levels.factor * (query.coords @ levels.y.T) + query.const[:, None]
        seen.append(overlap(exact, got))
    assert all(b >= a - 0.01 for a, b in zip(seen, seen[1:], strict=False))
    assert seen[-2] > 0.75
    assert seen[-1] > 0.9


@pytest.mark.parametrize("n", [2, 3, 20])
def test_fewer_rows_than_dimensions(n: int) -> None:
    x, q = embeddings(n), embeddings(30, seed=1)
    codec = attar.codec("waterfill@8x").fit(x)
    assert np.corrcoef(scores_of(codec, x, q).ravel(), (q @ x.T).ravel())[0, 1] > 0.99
    fresh = embeddings(200, seed=5)
    assert np.corrcoef(scores_of(codec, fresh, q).ravel(), (q @ fresh.T).ravel())[0, 1] > 0.9


def test_three_documents_of_six_dimensions() -> None:
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    codec = attar.codec("waterfill").fit(x)
    assert codec.bytes_per_vector == 3
    assert codec.decode(codec.encode(x)).shape == (3, 6)
    with pytest.raises(ValueError, match="at least 2 training vectors"):
        attar.codec("waterfill").fit(x[:1])


def test_degenerate_documents() -> None:
    x = embeddings(60)
    same = np.repeat(x[:1], 40, axis=0)
    codec = attar.codec("waterfill").fit(same)
    np.testing.assert_allclose(codec.decode(codec.encode(same)), same, atol=1e-3)
    codec = attar.codec("waterfill").fit(np.zeros((9, 96)))
    assert np.isfinite(codec.decode(codec.encode(x))).all()
    constant = x.copy()
    constant[:, 5] = 0.25
    low_rank = (x[:, :3] @ np.eye(3, 96) + 1).astype(np.float32)
    for data in (constant, low_rank, np.repeat(x, 5, axis=0)):
        codec = attar.codec("waterfill").fit(data)
        error = np.linalg.norm(codec.decode(codec.encode(data)) - data, axis=1)
        assert (error < 0.12 * np.linalg.norm(data, axis=1)).all()


def test_norms_other_than_those_of_the_fit() -> None:
    x = embeddings(500)
    codec = attar.codec("waterfill@8x").fit(x)
    centre = codec.quantizer.mean
    for factor in (1e-3, 0.3, 4.0, 1e3):
        far = (centre + factor * (x - centre)).astype(np.float32)
        error = np.linalg.norm(codec.decode(codec.encode(far)) - far, axis=1)
        assert (error < 0.25 * np.linalg.norm(far - centre, axis=1) + 1e-4).all()
    with pytest.raises(ValueError, match=r"65504 times.*row 1\b.*outlier"):
        codec.encode(np.stack([x[0], x[1] * np.float32(1e9)]))


@pytest.mark.parametrize(("narrow", "lead"), [(1.0, 0.01), (0.35, 0.03)])
def test_a_foreign_fit_still_beats_a_rotation(narrow: float, lead: float) -> None:
    """Also one on documents that vary less, so that these fall beyond the levels without a gain."""
    x, q = embeddings(800), embeddings(60, seed=1)
    rng = np.random.default_rng(9)
    basis = np.linalg.qr(np.random.default_rng(7).normal(size=(96, 96)))[0]
    spread = np.arange(1, 97) ** -0.6 * np.exp(0.5 * rng.normal(size=96))
    spread[8:] *= narrow
    other = (rng.normal(size=(800, 96)) * spread) @ basis + 0.8 * basis[30]
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    exact, got = q @ x.T, {}
    for spec in ("waterfill@8x", "eden4"):
        codec = attar.codec(spec).fit(other)
        got[spec] = overlap(exact, scores_of(codec, x, q))
    assert got["waterfill@8x"] > got["eden4"] + lead


def test_without_queries_part_of_the_mean_stays_in_the_code() -> None:
    x = embeddings(600)
    x += 2 * x.mean(axis=0)
    mean = x.mean(axis=0)
    blind = attar.codec("waterfill@8x").fit(x).quantizer.mean
    strongest = np.sqrt(np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1])
    np.testing.assert_allclose(np.linalg.norm(mean - blind), 0.75 * strongest, rtol=1e-3)
    np.testing.assert_allclose(
        blind / np.linalg.norm(blind), mean / np.linalg.norm(mean), atol=1e-5
    )
    aware = attar.codec("waterfill@8x").fit(x, queries=embeddings(9, seed=1))
    np.testing.assert_allclose(aware.quantizer.mean, mean, atol=1e-6)
