"""The cascade: certified results are exact whatever the data, approximate ones are near."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.stores.cascade.calibration import LADDER, calibrated, questions
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.search import Widths, approximate, certified, survivors
from attar.stores.kernels.exact import exact_scores, exact_top, source
from attar.stores.kernels.exact.reference import all_scores
from attar.stores.kernels.library import levels
from attar.stores.layouts.integers import Integers
from attar.stores.types import Codes, Query
from tests.stores.cascade.worlds import cascade

SPECS = ["float32", "int8", "int8:minmax", "float16", "pca32+float8_e4m3", "waterfill@8x"]
NARROW = Widths(40, 10)


def one(query: Query, q: int) -> Query:
    return Query(query.coords[q : q + 1], query.const[q : q + 1])


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("spec", SPECS)
def test_certified_is_exact(spec, metric):
    index, query = cascade(spec, metric, 3000)
    truth = exact_top(index.source, query, 10)
    for q, found in enumerate(certified(index, query, 10, NARROW)):
        order = np.lexsort((found.rows, -found.scores))[:10]
        np.testing.assert_array_equal(found.rows[order], truth.rows[q])
        np.testing.assert_array_equal(found.scores[order], truth.scores[q])


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("spec", SPECS)
def test_no_bound_excludes_a_row_that_reaches_the_floor(spec, metric):
    index, query = cascade(spec, metric, 700)
    everything = np.tile(np.arange(700), (len(query), 1))
    scores = exact_scores(index.source, query, everything)
    for q in range(len(query)):
        for floor in np.quantile(scores[q], [0.5, 0.9, 1.0]).astype(np.float32):
            kept, _ = survivors(index, one(query, q), float(floor), None, 1, "auto")
            missed = np.setdiff1d(np.flatnonzero(scores[q] >= floor), kept)
            assert not len(missed)


def test_bounds_exclude_most_rows():
    index, query = cascade("int8", "cosine", 5000)
    truth = exact_top(index.source, query, 10)
    left = [
        len(survivors(index, one(query, q), float(truth.scores[q, -1]), None, 1, "auto")[0])
        for q in range(len(query))
    ]
    assert np.mean(left) < 1500


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 200), st.integers(1, 30), st.floats(0.0, 4.0))
def test_certified_is_exact_for_any_codes(seed, n, k, tail):
    # Codes without structure, with repeated rows (ties) and a few that are far longer than others.
    rng = np.random.default_rng(seed)
    code = rng.integers(-3, 4, (n, 24)).astype(np.int8)
    code[n // 2 :] = code[: n - n // 2]
    scale = (1 + rng.pareto(1.5, (n, 1)) * tail).astype(np.float16)
    held = source(Integers(24, True), Codes({"code": code, "scale": scale}))
    index = Cascade.build(held, np.eye(24), 8, 4)
    query = Query(rng.standard_normal((2, 24)).astype(np.float32), np.zeros(2, np.float32))
    truth = exact_top(held, query, k)
    for q, found in enumerate(certified(index, query, k, Widths(1, 1))):
        floor = truth.scores[q, -1]
        wanted = np.flatnonzero(all_scores(held.layout.unpack(held.codes), None, query, q) >= floor)
        np.testing.assert_array_equal(np.sort(found.rows), wanted)


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0])
def test_masks(share):
    index, query = cascade("int8", "cosine", 3000)
    allowed = np.random.default_rng(0).random(3000) < share
    truth = exact_top(index.source, query, 10, allowed)
    found = approximate(index, query, 10, Widths(600, 200), allowed)
    assert allowed[found.rows].all()
    assert np.mean(found.rows == truth.rows) > 0.9 if share else found.rows.shape == (6, 0)
    for q, sure in enumerate(certified(index, query, 10, NARROW, allowed)):
        assert set(sure.rows) >= set(truth.rows[q])


def test_wider_is_better_and_the_widest_is_exact():
    index, query = cascade("int8", "cosine", 3000, m=40)
    truth = exact_top(index.source, query, 10)
    recall = [
        np.mean(approximate(index, query, 10, widths).scores >= truth.scores[:, -1:])
        for widths in (Widths(40, 20), Widths(200, 80), Widths(3000, 3000))
    ]
    assert recall[0] < recall[2] == 1
    assert recall[0] <= recall[1] <= 1


def test_one_query_and_a_batch_agree_in_scores():
    index, query = cascade("int8", "cosine", 3000)
    batch = approximate(index, query, 5, Widths(1000, 300))
    for q in range(len(query)):
        single = approximate(index, one(query, q), 5, Widths(1000, 300))
        np.testing.assert_array_equal(single.scores[0], batch.scores[q])


def test_every_level_and_thread_count_gives_the_same():
    index, query = cascade("waterfill@8x", "cosine", 3000)
    wanted = approximate(index, query, 10, Widths(200, 50), impl="numpy")
    for impl in levels():
        for threads in (1, 3):
            got = approximate(index, query, 10, Widths(200, 50), None, threads, impl)
            np.testing.assert_array_equal(got.rows, wanted.rows)
            np.testing.assert_array_equal(got.scores, wanted.scores)


def test_calibration_keeps_its_promise():
    # A sketch of ten nibbles for 96 dimensions: the first rung is not enough.
    index, _ = cascade("int8", "cosine", 20_000, dim=96, shape=(8, 2))
    widths = calibrated(index, 0.97)
    query = questions(index, seed=7)  # other questions than those that it was calibrated on
    truth = exact_top(index.source, query, 10)
    recall = [
        np.mean(approximate(index, query, 10, some).scores >= truth.scores[:, -1:])
        for some in (LADDER[0], widths)
    ]
    assert recall[0] < 0.9
    assert recall[1] >= 0.95
    assert LADDER.index(calibrated(index, 0.5)) <= LADDER.index(widths)
    with pytest.raises(ValueError, match="recall lies in"):
        calibrated(index, 0.0)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17])
def test_tiny_indices(n):
    index, query = cascade("int8", "cosine", n, dim=24)
    assert approximate(index, query, 5, NARROW).rows.shape == (6, min(5, n))
    assert all(len(found.rows) >= min(5, n) for found in certified(index, query, 5, NARROW))


def test_documents_that_are_all_equal():
    code = np.full((500, 24), 3, np.int8)
    scale = np.ones((500, 1), np.float16)
    held = source(Integers(24, True), Codes({"code": code, "scale": scale}))
    index = Cascade.build(held, np.eye(24), 8, 4)
    query = Query(np.ones((1, 24), np.float32), np.zeros(1, np.float32))
    assert len(certified(index, query, 3, NARROW)[0].rows) == 500
