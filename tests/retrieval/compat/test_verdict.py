"""The advice: where a bridge wins, where nothing helps, where only everything helps."""

import numpy as np
import pytest

from attar.retrieval.compat import Sample, anchor_drift, judge, measure_options
from attar.retrieval.compat.graded import best_rows, ndcg
from attar.retrieval.compat.options import Option
from attar.retrieval.compat.rescoring import Rescoring, Scale
from attar.retrieval.evaluation import evaluate_run
from tests.retrieval.compat.methods import clusters, turned, unit

RNG = np.random.default_rng(11)
DOCUMENTS = clusters(700, 24)
ASKED = unit(DOCUMENTS[:400] + 0.06 * RNG.standard_normal((400, 24)))
GRADES = [{row: 1} for row in range(400)]
NAMES = ("procrustes", "ridge")


def noise(rows: int, dim: int = 36) -> np.ndarray:
    return unit(RNG.standard_normal((rows, dim)))


def advised(sample: Sample) -> str:
    return judge(measure_options(sample, adapters=NAMES)).advice


def test_a_bridge_that_wins_is_advised() -> None:
    noisy = unit(ASKED + 0.15 * RNG.standard_normal(ASKED.shape))
    sample = Sample(DOCUMENTS, turned(DOCUMENTS, 36), noisy, turned(ASKED, 36), GRADES)
    verdict = judge(measure_options(sample, adapters=NAMES))
    assert verdict.advice == "bridge" and verdict.how == "query-side procrustes"


def test_a_worse_model_is_no_reason_to_move() -> None:
    sample = Sample(DOCUMENTS, noise(700), ASKED, noise(400), GRADES)
    drift = anchor_drift(DOCUMENTS, sample.new_documents)
    verdict = judge(measure_options(sample, adapters=NAMES), drift)
    assert verdict.advice == "stay" and "unrelated" in verdict.why


def test_a_useless_old_model_is_replaced_whole() -> None:
    sample = Sample(noise(700), DOCUMENTS, noise(400), ASKED, GRADES)
    assert advised(sample) == "re-embed"


def test_equal_models_stay() -> None:
    assert advised(Sample(DOCUMENTS, DOCUMENTS, ASKED, ASKED, GRADES)) == "stay"


def test_independent_errors_make_rescoring_win() -> None:
    """Both models are right about the same and wrong about different documents."""
    a = unit(DOCUMENTS + 0.12 * RNG.standard_normal(DOCUMENTS.shape))
    b = turned(unit(DOCUMENTS + 0.12 * RNG.standard_normal(DOCUMENTS.shape)), 36)
    p = unit(ASKED + 0.12 * RNG.standard_normal(ASKED.shape))
    q = turned(unit(ASKED + 0.12 * RNG.standard_normal(ASKED.shape)), 36)
    assert advised(Sample(a, b, p, q, GRADES)) == "rescore"


def test_a_bridge_below_staying_is_never_advised() -> None:
    """Whatever the noise: if the advice is a bridge, its interval lies above staying."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        stay, bridge = rng.random(60), rng.random(60)
        verdict = judge([Option("stay", "", stay), Option("bridge", "query-side ridge", bridge)])
        if verdict.advice == "bridge":
            assert (bridge - stay).mean() > 0 and verdict.options[1].gain.low > 0


def test_without_texts_bridges_fitted_elsewhere_remain() -> None:
    other = clusters(500, 24, seed=3)
    noisy = unit(ASKED + 0.15 * RNG.standard_normal(ASKED.shape))
    pairs = (other, turned(other, 36))
    sample = Sample(DOCUMENTS, None, noisy, turned(ASKED, 36), GRADES, pairs)
    verdict = judge(measure_options(sample, adapters=NAMES))
    assert {each.name for each in verdict.options} == {"stay", "bridge"}
    assert verdict.advice == "bridge"
    alone = Sample(DOCUMENTS, None, noisy, turned(ASKED, 36), GRADES)
    assert [each.name for each in measure_options(alone)] == ["stay"]


def test_ndcg_is_that_of_trec_eval() -> None:
    rng = np.random.default_rng(0)
    found = np.array([rng.permutation(30)[:10] for _ in range(25)])
    grades = [{int(r): int(rng.integers(1, 4)) for r in rng.permutation(30)[:5]} for _ in found]
    want = evaluate_run(
        {f"{q:02}": [str(r) for r in rows] for q, rows in enumerate(found)},
        {f"{q:02}": {str(r): g for r, g in judged.items()} for q, judged in enumerate(grades)},
    ).values["nDCG@10"]
    assert np.allclose(ndcg(found, grades), want)


def test_best_rows_are_those_of_a_sort() -> None:
    scores = np.random.default_rng(0).integers(0, 9, (20, 50)).astype(np.float32)
    assert np.array_equal(
        np.take_along_axis(scores, best_rows(scores, 10), axis=1),
        -np.sort(-scores, axis=1)[:, :10],
    )


def test_what_is_not_embedded_yet_keeps_its_order() -> None:
    old = np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)
    new = np.full((1, 4), np.nan, np.float32)
    rows = np.arange(4)[None]
    assert Rescoring().rank(rows, old, new, Scale()).tolist() == [[0, 1, 2, 3]]
    new[0, 3] = 1.5
    assert Rescoring().rank(rows, old, new, Scale()).tolist() == [[3, 0, 1, 2]]


def test_scale_brings_old_scores_to_the_new_ones() -> None:
    old = np.random.default_rng(0).random(200).astype(np.float32)
    scale = Scale.of(old, 2 * old - 0.3)
    assert np.allclose(scale.apply(old), 2 * old - 0.3, atol=1e-5)


def test_a_sample_whose_sides_disagree_is_refused() -> None:
    with pytest.raises(ValueError, match="same queries by both models"):
        Sample(DOCUMENTS, DOCUMENTS, ASKED, ASKED[:5], GRADES)
    with pytest.raises(ValueError, match="same documents by both models"):
        Sample(DOCUMENTS, DOCUMENTS[:5], ASKED, ASKED, GRADES)
