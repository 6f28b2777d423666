"""Cells: every row lies in one, exact results stay exact, and looking into more finds more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.stores.cascade.calibration import Exam, calibrated, exam
from attar.stores.cascade.cells import CROWD, arranged, balanced
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.search import Widths, approximate, certified
from attar.stores.kernels.exact import exact_top, source
from attar.stores.kernels.exact.reference import all_scores
from attar.stores.kernels.library import levels
from attar.stores.kernels.sketch import NOWHERE
from attar.stores.layouts.integers import Integers
from attar.stores.types import Codes, Query
from tests.stores.cascade.worlds import cascade

NARROW = Widths(40, 10, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 20))
def test_every_row_has_one_position(seed, n, cells):
    owner = np.random.default_rng(seed).integers(0, cells, n)
    starts, order = arranged(owner, cells)
    held = order[order != NOWHERE].astype(np.int64)
    np.testing.assert_array_equal(np.sort(held), np.arange(n))
    cell_of = np.repeat(np.arange(cells), 16 * np.diff(starts))
    np.testing.assert_array_equal(owner[held], cell_of[order != NOWHERE])
    for cell in range(cells):
        inside = order[16 * starts[cell] : 16 * starts[cell + 1]] != NOWHERE
        assert (np.diff(inside.astype(int)) <= 0).all()


def test_no_cell_is_crowded():
    rng = np.random.default_rng(0)
    n, cells = 4000, 20
    distance = np.sort(rng.random((n, cells)).astype(np.float32), axis=1)
    choice = np.argsort(rng.random((n, cells)), axis=1)
    choice[: n // 2, 0] = 3
    for row in choice[: n // 2]:
        row[1:] = np.setdiff1d(np.arange(cells), [3])
    owner = balanced(distance, choice, cells)
    sizes = np.bincount(owner, minlength=cells)
    assert sizes.max() <= CROWD * n / cells
    # Those that are nearest to the crowded centre are the ones that stay.
    first = np.flatnonzero((choice[:, 0] == 3) & (owner == 3))
    left = np.flatnonzero((choice[:, 0] == 3) & (owner != 3))
    assert distance[first, 0].max() <= distance[left, 0].min()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("spec", ["float32", "int8", "waterfill@8x"])
def test_certified_is_exact_in_cells(spec, metric):
    index, query = cascade(spec, metric, 3000, cells=24)
    truth = exact_top(index.source, query, 10)
    for q, found in enumerate(certified(index, query, 10, NARROW)):
        order = np.lexsort((found.rows, -found.scores))[:10]
        np.testing.assert_array_equal(found.rows[order], truth.rows[q])
        np.testing.assert_array_equal(found.scores[order], truth.scores[q])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(40, 200), st.integers(1, 30), st.floats(0.0, 4.0))
def test_certified_is_exact_in_cells_for_any_codes(seed, n, k, tail):
    rng = np.random.default_rng(seed)
    code = rng.integers(-3, 4, (n, 24)).astype(np.int8)
    code[n // 2 :] = code[: n - n // 2]
    scale = (1 + rng.pareto(1.5, (n, 1)) * tail).astype(np.float16)
    held = source(Integers(24, True), Codes({"code": code, "scale": scale}))
    index = Cascade.build(held, np.eye(24), 8, 4, cells=5)
    query = Query(rng.standard_normal((2, 24)).astype(np.float32), np.zeros(2, np.float32))
    truth = exact_top(held, query, k)
    for q, found in enumerate(certified(index, query, k, Widths(1, 1, 0.0))):
        floor = truth.scores[q, -1]
        wanted = np.flatnonzero(all_scores(held.layout.unpack(held.codes), None, query, q) >= floor)
        np.testing.assert_array_equal(found.rows, wanted)


def test_a_wider_margin_finds_more_and_all_cells_find_all():
    index, query = cascade("int8", "cosine", 6000, m=40, cells=32)
    truth = exact_top(index.source, query, 10)
    recall = [
        np.mean(
            approximate(index, query, 10, Widths(3000, 1000, margin)).scores >= truth.scores[:, -1:]
        )
        for margin in (-9.0, -0.5, None)
    ]
    assert recall[0] < recall[1] <= recall[2] == 1


def test_a_filter_looks_into_more_cells():
    index, query = cascade("int8", "cosine", 6000, m=40, cells=32)
    allowed = np.random.default_rng(0).random(6000) < 0.2
    truth = exact_top(index.source, query, 10, allowed)
    found = approximate(index, query, 10, Widths(400, 150, 0.4), allowed)
    assert allowed[found.rows].all()
    assert np.mean(found.scores >= truth.scores[:, -1:]) > 0.97


def test_a_filter_that_leaves_the_best_cells_empty_still_fills_k():
    index, query = cascade("int8", "cosine", 6000, m=3, cells=32)
    nearest = exact_top(index.source, query, 3000).rows
    allowed = np.ones(6000, bool)
    allowed[nearest.ravel()] = False
    k = 20
    found = approximate(index, query, k, Widths(40, 20, -9.0), allowed)
    assert found.rows.shape == (3, k)
    assert allowed[found.rows].all()


def test_every_level_and_thread_count_gives_the_same_in_cells():
    index, query = cascade("waterfill@8x", "cosine", 3000, cells=16)
    for some in (query, Query(query.coords[:1], query.const[:1])):
        wanted = approximate(index, some, 10, Widths(200, 50, 0.2), impl="numpy")
        for impl in levels():
            for threads in (1, 3):
                got = approximate(index, some, 10, Widths(200, 50, 0.2), None, threads, impl)
                np.testing.assert_array_equal(got.rows, wanted.rows)
                np.testing.assert_array_equal(got.scores, wanted.scores)


def test_calibration_chooses_cells():
    index, _ = cascade("int8", "cosine", 10_000, dim=64, cells=64)
    asked: Exam = exam(index, seed=7)  # other questions than those that it is calibrated on
    few, many = calibrated(index, 0.8), calibrated(index, 0.99)
    assert few.margin is not None
    assert few.margin < (1.0 if many.margin is None else many.margin)
    assert asked.recall(many) >= 0.96
    assert asked.recall(few) >= 0.75


def test_more_results_are_found_as_surely_as_ten():
    index, query = cascade("int8", "cosine", 20_000, dim=64, m=60, cells=64)
    widths, recall = calibrated(index, 0.98), {}
    for k in (10, 30, 100):
        truth = exact_top(index.source, query, k).scores[:, -1:]
        recall[k] = np.mean(approximate(index, query, k, widths).scores >= truth)
    assert min(recall[30], recall[100]) >= recall[10] > 0.95, recall
