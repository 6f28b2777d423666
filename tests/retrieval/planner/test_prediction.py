"""Predictions of overlap@10: the model's laws, and a corpus ten times the sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.retrieval.evaluation.overlap import overlap_at_k
from attar.retrieval.planner.measurement import Trial, exact_rows, measure
from attar.retrieval.planner.prediction import Rankings, predict
from attar.retrieval.planner.profile import profile, top_rows
from attar.retrieval.planner.tail import DEPTH, RATIOS, log_ratios, overlaps_at, table
from tests.retrieval.planner.clusters import draw


@given(st.integers(1, 6), st.integers(12, 40), st.integers(1, 12), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_a_profile_is_the_overlap_at_every_depth(m: int, n: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = top_rows(rng.standard_normal((m, n)).astype(np.float32), n)
    coded = top_rows(rng.standard_normal((m, n)).astype(np.float32), n)
    kept = rng.random(n) < 0.7
    kept[:depth] = True
    got = profile(exact, coded, n, depth)
    thin = profile(exact, coded, n, depth, kept)
    for j in range(1, depth + 1):
        assert got[:, j - 1] == pytest.approx(overlap_at_k(exact, coded, j))
        left = [[[x for x in row if kept[x]] for row in rows] for rows in (exact, coded)]
        assert thin[:, j - 1] == pytest.approx(overlap_at_k(left[1], left[0], j))


def test_top_rows_are_the_best_in_order() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7]], np.float32)
    assert top_rows(scores, 3).tolist() == [[1, 3, 2]]
    assert top_rows(scores, 9).tolist() == [[1, 3, 2, 0]]


def test_the_table_falls_with_the_error_and_inverts() -> None:
    known = table()
    assert known.shape == (len(RATIOS), DEPTH)
    assert (np.diff(known, axis=0) <= 0).all()
    assert known[0].min() > 0.995 and known[-1].max() < 0.4
    for place in (8, 14, 20, 26):
        logs = log_ratios(known[place][None])
        assert logs == pytest.approx(np.log(RATIOS[place]), abs=1e-6)
        assert overlaps_at(logs[:, 0], 10) == pytest.approx(known[place, 9])


def test_the_table_is_what_an_exponential_tail_does() -> None:
    """Scores with exactly that tail, drawn another way: the j-th overlap does not depend on n."""
    rng = np.random.default_rng(5)
    for n in (2_000, 20_000):
        scores = rng.exponential(size=(300, n)).astype(np.float32)
        noisy = scores + np.float32(0.2) * rng.standard_normal((300, n), np.float32)
        seen = profile(top_rows(scores, 60), top_rows(noisy, 60), n, 50).mean(axis=0)
        expected = float(overlaps_at(np.array([np.log(0.2)]), 10)[0])
        assert seen[9] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("spec", ["waterfill@16x", "int4", "waterfill@8x", "int2"])
def test_a_sample_predicts_a_corpus_ten_times_its_size(spec: str) -> None:
    everything, queries = draw(20_000, 1), draw(400, 2)
    recipe = attar.codec(spec)
    x = everything[:2_000]
    trial = Trial(x, queries, 20_000, "cosine", 0, exact_rows(x, queries, "cosine"))
    got = measure(recipe, trial).quality
    full = Trial(
        everything, queries, 20_000, "cosine", 0, exact_rows(everything, queries, "cosine")
    )
    truth = measure(recipe, full).quality.mean
    assert got.low <= truth <= got.high
    assert got.low < got.mean < got.high
    # What the sample itself shows is further off: the prediction is worth its trouble.
    assert abs(got.at_sample - truth) > abs(got.mean - truth)
    if spec != "int2":  # two bits in 48 dimensions lose most of the top ten: too noisy for this
        assert abs(got.mean - truth) <= 0.02
        assert got.high - got.low < 0.1


def test_a_sample_that_is_the_corpus_is_simply_measured() -> None:
    x, queries = draw(500, 1), draw(50, 2)
    exact = exact_rows(x, queries, "cosine")
    point = measure(attar.codec("int4"), Trial(x, queries, 500, "cosine", 0, exact))
    codec = attar.codec("int4").fit(x)
    coded = top_rows(queries @ codec.decode(codec.encode(x)).T, 10)
    assert point.quality.mean == pytest.approx(overlap_at_k(coded, exact[:, :10]).mean(), abs=0.003)
    assert point.quality.mean == point.quality.at_sample
    assert point.total_bytes == 500 * point.bytes_per_vector + point.side_bytes


def test_codes_without_a_seen_error_are_not_called_perfect() -> None:
    rows = np.tile(np.arange(80), (20, 1))
    got = predict(Rankings(rows, rows, None), 2_000, 50_000, 0)
    assert got.mean == 1
    assert got.low == pytest.approx(1 - 3 / 200)


def test_predictions_repeat_with_the_seed() -> None:
    x, queries = draw(600, 1), draw(40, 2)
    trial = Trial(x, queries, 6_000, "cosine", 3, exact_rows(x, queries, "cosine"))
    assert measure(attar.codec("waterfill"), trial) == measure(attar.codec("waterfill"), trial)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_other_metrics_rank_as_they_say(metric: str) -> None:
    rng = np.random.default_rng(0)
    x, q = (rng.standard_normal((n, 16)).astype(np.float32) for n in (300, 20))
    scores = q @ x.T if metric == "ip" else -((q[:, None] - x[None]) ** 2).sum(axis=2)
    assert (exact_rows(x, q, metric)[:, :10] == top_rows(scores, 10)).all()  # type: ignore[arg-type]
    trial = Trial(x, q, 300, metric, 0, exact_rows(x, q, metric))  # type: ignore[arg-type]
    assert measure(attar.codec("int8"), trial).quality.mean > 0.95
