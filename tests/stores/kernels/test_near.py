"""Integer scores choose the same rows on every level, and keep the best ones."""

import numpy as np
import pytest

from attar.stores.kernels.exact import (
    Limits,
    exact_levels,
    exact_near,
    exact_reach,
    exact_scores,
    exact_top,
    source,
)
from attar.stores.types import Query
from tests.stores.kernels.material import ROWS, make, queries
from tests.stores.kernels.test_exact import FORCED

BYTES = ["int8", "uint8", "waterfill"]


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize(("n", "dim"), [(1, 1), (63, 24), (300, 100), (200, 384), (50, 1100)])
def test_near_equals_reference(name, level, n, dim):
    codes = source(*make(name, n, dim, seed=n))
    query, rng = queries(3, dim, seed=dim), np.random.default_rng(n)
    rows = np.argsort(rng.random((3, n)), axis=1)[:, : max(1, 2 * n // 3)]
    rows[:, ::7] = -1
    for kept in (1, 5, n):
        got = exact_near(codes, query, rows, kept, threads=2, impl=level)
        wanted = exact_near(codes, query, rows, kept, impl="numpy")
        np.testing.assert_array_equal(got, wanted)
        assert got.shape == (3, min(kept, rows.shape[1]))


@pytest.mark.parametrize("level", FORCED)
def test_norms_are_subtracted(level):
    rng = np.random.default_rng(3)
    layout, codes = make("int8", 200, 40, seed=1)
    norms = rng.uniform(0, 300, 200).astype(np.float32)
    held, query = source(layout, codes, norms), queries(4, 40, seed=2)
    rows = np.tile(np.arange(200), (4, 1))
    got = exact_near(held, query, rows, 30, impl=level)
    np.testing.assert_array_equal(got, exact_near(held, query, rows, 30, impl="numpy"))
    best = exact_top(held, query, 10).rows
    assert all(set(one) <= set(some) for one, some in zip(best, got, strict=True))


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("name", BYTES)
def test_the_largest_queries_do_not_overflow(name, level):
    for dim in (7, 1030, 3000):
        codes = source(*make(name, 20, dim, seed=dim))
        coords = np.full((2, dim), 3e4, np.float32) * np.array([[1], [-1]], np.float32)
        query = Query(coords, np.zeros(2, np.float32))
        rows = np.tile(np.arange(20), (2, 1))
        got = exact_near(codes, query, rows, 8, impl=level)
        np.testing.assert_array_equal(got, exact_near(codes, query, rows, 8, impl="numpy"))
        best = exact_top(codes, query, 3).rows
        assert all(set(one) <= set(some) for one, some in zip(best, got, strict=True))


def test_codes_that_are_not_bytes_keep_their_rows():
    name = next(name for name in ROWS if name not in BYTES)
    codes = source(*make(name, 30, 24, seed=0))
    rows = np.argsort(np.random.default_rng(0).random((2, 30)), axis=1)
    kept = exact_near(codes, queries(2, 24, seed=0), rows, 3)
    np.testing.assert_array_equal(kept, np.sort(rows, axis=1))


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("norms", [False, True])
def test_reach_loses_no_row_and_keeps_few_others(name, norms, level):
    n, dim = 9000, 96  # more than the places into which rows are sorted
    rng = np.random.default_rng(4)
    layout, codes = make(name, n, dim, seed=4)
    held = source(layout, codes, rng.uniform(0, 9, n).astype(np.float32) if norms else None)
    levels = exact_levels(held, slice(0, n))
    length = np.linalg.norm(levels.y * levels.factor[:, None].astype(np.float64), axis=1).max()
    limits, rows = Limits.of(held, float(length)), rng.permutation(n)
    for seed in range(5):
        query = queries(1, dim, seed=seed)
        scores = exact_scores(held, query, rows[None])[0]
        # A floor that is a score itself: its row reaches it.
        for rank in (1, 10, 500):
            floor = float(np.sort(scores)[-rank])
            got = exact_reach(held, query, rows, floor, limits, 3, level)
            np.testing.assert_array_equal(
                got, exact_reach(held, query, rows, floor, limits, impl="numpy")
            )
            assert set(rows[scores >= floor]) <= set(got)
            assert len(got) <= rank + 0.15 * n
    assert len(exact_reach(held, query, rows, -np.inf, limits, impl=level)) == n
