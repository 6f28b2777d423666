"""The native exact scan equals numpy's bit for bit: every code type, every level, odd sizes."""

import numpy as np
import pytest

from attar.stores.kernels.exact import exact_scores, exact_top, source
from attar.stores.kernels.exact.reference import all_scores
from attar.stores.kernels.library import LEVELS, levels
from attar.stores.types import Query
from tests.stores.kernels.material import ROWS, make, queries

FORCED = [
    pytest.param(
        level, marks=() if level in levels() else pytest.mark.skip(f"no {level} on this machine")
    )
    for level in LEVELS
]


def same(a, b):
    np.testing.assert_array_equal(a.rows, b.rows)
    np.testing.assert_array_equal(a.scores.view(np.uint32), b.scores.view(np.uint32))
    np.testing.assert_array_equal(a.cut, b.cut)


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("n", "dim"), [(1, 1), (63, 24), (100, 100), (1000, 63), (77, 384)])
def test_top_equals_reference(name, level, n, dim):
    codes = source(*make(name, n, dim, seed=n))
    query = queries(3, dim, seed=dim)
    for k in (1, 10, n):
        same(exact_top(codes, query, k, impl=level), exact_top(codes, query, k, impl="numpy"))


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_masks_norms_and_threads_change_nothing(level, threads):
    rng = np.random.default_rng(5)
    n, query = 1003, queries(4, 96, seed=1)
    layout, codes = make("int8", n, 96, seed=2)
    norms = rng.uniform(0, 50, n).astype(np.float32)
    for share in (0.0, 0.003, 0.1, 0.97):
        allowed = rng.random(n) < share
        held = source(layout, codes, norms)
        same(
            exact_top(held, query, 10, allowed, threads, impl=level),
            exact_top(held, query, 10, allowed, impl="numpy"),
        )


@pytest.mark.parametrize("level", FORCED)
def test_ties_keep_the_lowest_rows_and_say_what_was_cut(level):
    layout, codes = make("int8", 40, 32, seed=3)
    doubled = codes[np.repeat(np.arange(40), 5)]
    held, query = source(layout, doubled), queries(2, 32, seed=4)
    found = exact_top(held, query, 7, threads=3, impl=level)
    same(found, exact_top(held, query, 7, impl="numpy"))
    assert found.cut.any()
    assert not exact_top(held, query, 10, impl=level).cut.any()


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("name", ROWS)
def test_scores_of_given_rows(name, level):
    codes, query = source(*make(name, 300, 72, seed=6)), queries(2, 72, seed=7)
    rows = np.random.default_rng(8).integers(-1, 300, (2, 37))
    got = exact_scores(codes, query, rows, threads=2, impl=level)
    levels_ = codes.layout.unpack(codes.codes)
    for q in range(2):
        wanted = np.where(rows[q] < 0, -np.inf, all_scores(levels_, None, query, q)[rows[q]])
        np.testing.assert_array_equal(got[q], wanted)


@pytest.mark.parametrize("level", FORCED)
def test_every_finite_float8_value(level):
    for name in ("float8_e4m3", "float8_e5m2", "float8_e3m4"):
        layout, _ = make(name, 1, 256, seed=0)
        every = np.arange(256, dtype=np.uint8)[None]
        values = layout.unpack(type(make(name, 1, 256, 0)[1])({"code": every})).y[0]
        finite = np.isfinite(values)
        code = np.where(finite, every, 0).astype(np.uint8)
        # A unit query at dimension j reads the value of code j back.
        held = source(layout, type(make(name, 1, 256, 0)[1])({"code": code}))
        unit = Query(np.eye(256, dtype=np.float32), np.zeros(256, np.float32))
        got = exact_scores(held, unit, np.zeros((256, 1), np.int64), impl=level)[:, 0]
        np.testing.assert_array_equal(got, np.where(finite, values, 0))


def test_unknown_impl_and_bad_rows_are_refused():
    codes, query = source(*make("int8", 5, 8, seed=0)), queries(1, 8, seed=0)
    with pytest.raises(ValueError, match="impl is one of"):
        exact_top(codes, query, 1, impl="cuda")
    with pytest.raises(ValueError, match="Rows are below 5"):
        exact_scores(codes, query, np.array([[5]]))
    with pytest.raises(ValueError, match="threads is at least 1"):
        exact_top(codes, query, 1, threads=0)


def test_empty_inputs():
    codes = source(*make("float16", 0, 8, seed=0))
    assert exact_top(codes, queries(2, 8, seed=0), 3).rows.shape == (2, 0)
    codes = source(*make("float16", 4, 8, seed=0))
    assert exact_top(codes, queries(0, 8, seed=0), 3).rows.shape == (0, 3)
