"""Metrics against their definitions written out, and bootstrap against what it must cover."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.retrieval.evaluation import (
    bootstrap_interval,
    evaluate_run,
    overlap_at_k,
    paired_bootstrap,
)

pytest.importorskip("ir_measures")
DOCUMENTS = [f"d{number}" for number in range(130)]


def by_hand(ranking, grades):
    """nDCG@10 (gain = grade, discount log2(rank + 1)), recall@100, MRR@10 of one query."""
    dcg = sum(grades.get(d, 0) / math.log2(r + 2) for r, d in enumerate(ranking[:10]))
    ideal = sorted((g for g in grades.values() if g > 0), reverse=True)[:10]
    best = sum(g / math.log2(r + 2) for r, g in enumerate(ideal))
    relevant = {d for d, g in grades.items() if g > 0}
    found = len(relevant.intersection(ranking[:100]))
    first = next((r for r, d in enumerate(ranking[:10], 1) if d in relevant), math.inf)
    return dcg / best, found / len(relevant), 1 / first


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_metrics_are_their_definitions(data):
    qrels, run = {}, {}
    for query in ("q1", "q2", "q3"):
        grades = data.draw(
            st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1, max_size=40)
        )
        qrels[query] = {**grades, "d0": 1}
        run[query] = data.draw(st.permutations(DOCUMENTS))[: data.draw(st.integers(1, 130))]
    result = evaluate_run(run, qrels)
    assert result.query_ids == ("q1", "q2", "q3")
    for row, query in enumerate(result.query_ids):
        ours = [float(values[row]) for values in result.values.values()]
        assert ours == pytest.approx(by_hand(run[query], qrels[query]), abs=1e-9)


def test_the_given_order_counts_also_where_trec_eval_would_break_ties():
    ranking = [f"x{number}" for number in range(9)] + ["relevant"] + DOCUMENTS
    result = evaluate_run({"q": ranking}, {"q": {"relevant": 1}})
    assert result.means() == pytest.approx(
        {"nDCG@10": 1 / math.log2(11), "recall@100": 1.0, "MRR@10": 0.1}
    )
    assert evaluate_run({"q": ["x", *ranking]}, {"q": {"relevant": 1}}).means()["MRR@10"] == 0


def test_judged_queries_without_an_answer_are_zero_and_others_are_left_out():
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1}}
    result = evaluate_run({"q1": ["a"], "q2": [], "q9": ["a"]}, qrels)
    assert result.query_ids == ("q1", "q2", "q3")
    assert result.values["nDCG@10"].tolist() == [1, 0, 0]
    assert result.means()["MRR@10"] == pytest.approx(1 / 3)


def test_bad_runs_are_named():
    with pytest.raises(ValueError, match="repeated one for query 'q'"):
        evaluate_run({"q": ["a", "b", "a"]}, {"q": {"a": 1}})
    with pytest.raises(ValueError, match="at least one query"):
        evaluate_run({"q": ["a"]}, {})


def test_overlap_counts_sets_of_the_first_k():
    exact = [["a", "b", "c", "d"], ["e", "f", "g", "h"]]
    hits = np.array([["b", "a", "x", "c"], ["x", "y", "z", "e"]], object)
    assert overlap_at_k(hits, exact, 2).tolist() == [1.0, 0.0]
    assert overlap_at_k(hits, exact, 4).tolist() == [0.75, 0.25]
    assert overlap_at_k(hits, exact).tolist() == [0.75, 0.25]
    assert overlap_at_k(exact, exact, 3).tolist() == [1.0, 1.0]
    assert overlap_at_k([["a"]], [["a", "b"]], 10).tolist() == [0.5]


@pytest.mark.parametrize(
    ("hits", "exact", "k", "message"),
    [
        ([["a"]], [["a"], ["b"]], 1, "got 1 and 2"),
        ([["a"]], [["a"]], 0, "at least 1, got 0"),
        ([["a"]], [[]], 1, "none for query 0"),
    ],
)
def test_bad_overlaps_are_named(hits, exact, k, message):
    with pytest.raises(ValueError, match=message):
        overlap_at_k(hits, exact, k)


def test_bootstrap_agrees_with_the_normal_interval():
    x = np.random.default_rng(0).standard_normal(400) + 5
    interval = bootstrap_interval(x, seed=1)
    half = 1.96 * x.std() / np.sqrt(400)
    assert interval.mean == pytest.approx(x.mean())
    assert interval.low == pytest.approx(x.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_bootstrap_covers_as_often_as_it_says():
    """Of 300 intervals at 90 %, 270 hold the truth; fewer than 250 or more than 287: p < 1e-3."""
    draw = np.random.default_rng(3)
    held = 0
    for seed in range(300):
        interval = bootstrap_interval(draw.exponential(1, 150), seed=seed, level=0.9, samples=500)
        held += interval.low <= 1.0 <= interval.high
    assert 250 <= held <= 287


def test_bootstrap_is_its_seed():
    x = np.random.default_rng(0).random(50)
    assert bootstrap_interval(x, seed=4) == bootstrap_interval(x, seed=4)
    assert bootstrap_interval(x, seed=4) != bootstrap_interval(x, seed=5)


def test_blocks_hold_every_resample():
    """500,000 values make blocks of 8 resamples; a hole would leave garbage in the quantiles."""
    x = np.random.default_rng(0).random(500_000)
    interval = bootstrap_interval(x, seed=0, samples=19)
    assert 0.49 < interval.low < interval.high < 0.51


def test_pairing_cancels_what_is_hard_for_both():
    draw = np.random.default_rng(0)
    hard = draw.random(300)
    a, b = hard + 0.02, hard + draw.normal(0, 0.01, 300)
    paired = paired_bootstrap(a, b, seed=0)
    assert 0 < paired.low < paired.mean < paired.high < 0.04
    assert paired.mean == pytest.approx((a - b).mean())
    alone = bootstrap_interval(a, seed=0), bootstrap_interval(b, seed=0)
    assert alone[0].low < alone[1].high
    assert paired_bootstrap(a, a, seed=0).high == 0


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0]], [np.inf]])
def test_bad_values_are_named(values):
    with pytest.raises(ValueError, match="one a query"):
        bootstrap_interval(values, seed=0)
    with pytest.raises(ValueError, match="got"):
        paired_bootstrap(values, [1.0, 2.0, 3.0], seed=0)


@pytest.mark.parametrize("options", [{"level": 1.0}, {"level": 0}, {"samples": 0}])
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([1.0], seed=0, **options)


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0], seed=0)
