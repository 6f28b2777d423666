"""The native sketch operations equal numpy's: every level, odd sizes, masks, threads."""

import numpy as np
import pytest

from attar.stores.cascade.cells import arranged
from attar.stores.kernels.sketch import (
    EncodePlan,
    Errors,
    Promises,
    Reach,
    SketchCodes,
    empty_codes,
    quantized,
    sketch_encode,
    sketch_reach,
    sketch_select,
    sketch_top,
)
from tests.stores.kernels.test_exact import FORCED

SIZES = [(1, 8, 0), (63, 64, 64), (100, 24, 6), (1000, 40, 128), (40_003, 16, 10)]


def plain(dims: int, head_dims: int) -> EncodePlan:
    return EncodePlan(np.arange(dims, dtype=np.int32), np.ones(dims, np.float32), head_dims)


def random_codes(n: int, s: int, t: int, seed: int) -> SketchCodes:
    codes = empty_codes(n, s, t)
    z = np.random.default_rng(seed).standard_normal((n, s + t)).astype(np.float32)
    sketch_encode(z, plain(s + t, s), codes, impl="numpy")
    return codes


def random_query(m: int, s: int, t: int, seed: int, wide: bool):
    weights = np.random.default_rng(seed).standard_normal((m, s + t)).astype(np.float32)
    return quantized(weights, s, wide)


def as_sets(found):
    order = np.lexsort((found.positions, -found.scores), axis=1)
    return np.take_along_axis(found.positions, order, 1), np.take_along_axis(found.scores, order, 1)


@pytest.mark.parametrize(("n", "s", "t"), SIZES[:4])
@pytest.mark.parametrize("threads", [1, 3])
def test_encode_equals_reference(n, s, t, threads):
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, 7)).astype(np.float32)
    spread = rng.uniform(0.1, 3, s + t).astype(np.float32)
    # Fewer coordinates than nibbles: most come again for what is left of them.
    axis = np.concatenate([rng.integers(0, 5, s), rng.integers(0, 7, t)]).astype(np.int32)
    plan = EncodePlan(axis, spread, 5)
    ours, theirs = empty_codes(n + 5, s, t), empty_codes(n + 5, s, t)
    got = sketch_encode(a, plan, ours, 5, threads, impl="auto")
    wanted = sketch_encode(a, plan, theirs, 5, impl="numpy")
    np.testing.assert_array_equal(ours.head, theirs.head)
    np.testing.assert_array_equal(ours.body, theirs.body)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(("n", "s", "t"), SIZES)
def test_top_and_select_equal_reference(n, s, t, wide, level):
    codes, query = random_codes(n, s, t, seed=n), random_query(11, s, t, n + 1, wide)
    rng = np.random.default_rng(n)
    for allowed in (None, rng.random(n) < 0.3, rng.random(n) < 0.002):
        got = sketch_top(codes, query, 50, allowed, threads=2, impl=level)
        wanted = sketch_top(codes, query, 50, allowed, impl="numpy")
        for a, b in zip(as_sets(got), as_sets(wanted), strict=True):
            np.testing.assert_array_equal(a, b)
        chosen = sketch_select(codes, query, got, 7, threads=2, impl=level)
        expected = sketch_select(codes, query, got, 7, impl="numpy")
        np.testing.assert_array_equal(np.sort(chosen), np.sort(expected))


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize(("n", "s", "t"), SIZES)
def test_reach_equals_reference(n, s, t, level):
    codes, query = random_codes(n, s, t, seed=n), random_query(1, s, t, n + 1, True)
    rng = np.random.default_rng(n)
    errors = Errors(
        rng.integers(0, 256, (4, -(-n // 16) * 16)).astype(np.uint8), np.ones(4, np.float32)
    )
    allowed = rng.random(n) < 0.5
    for floor in (-1e9, 0.0, 40.0, 1e9):
        floors = np.full(1, floor, np.float32)
        bound = Reach(np.zeros(1, np.int32), floors, floors, 0.01, 0.02, 0.005, 0.01)
        got = sketch_reach(codes, query, errors, bound, allowed, threads=3, impl=level)
        wanted = sketch_reach(codes, query, errors, bound, allowed, impl="numpy")
        np.testing.assert_array_equal(np.sort(got[0]), wanted[0])
        assert got[1] == wanted[1]


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("part", [0.001, 0.004, 0.02])
def test_rows_that_only_the_low_plane_tells_apart(level, part):
    # One coordinate sets the scale and is the same for all rows; the others are a part of it.
    n, s = 40_003, 16
    z = np.random.default_rng(3).standard_normal((n, s)).astype(np.float32)
    z[:, 0] = 0.5
    codes = empty_codes(n, s, 0)
    sketch_encode(z, plain(s, s), codes)
    weights = np.random.default_rng(4).uniform(-part, part, (3, s)).astype(np.float32)
    weights[:, 0] = 1
    query = quantized(weights, s, wide=True)
    got = sketch_top(codes, query, 60, threads=2, impl=level)
    wanted = sketch_top(codes, query, 60, impl="numpy")
    for a, b in zip(as_sets(got), as_sets(wanted), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("wide", [True, False])
def test_a_sample_unlike_the_rest_costs_time_and_not_results(wide, level):
    # The best rows lie where the seeding sample does not look, then where only it looks.
    n, s = 200_000, 8
    for best in (slice(40, 1000), slice(0, n, 997)):
        z = np.random.default_rng(0).standard_normal((n, s)).astype(np.float32) - 1
        z[best] += 3
        codes = empty_codes(n, s, 0)
        sketch_encode(z, plain(s, s), codes)
        query = quantized(np.ones((3, s), np.float32), s, wide)
        got = sketch_top(codes, query, 700, impl=level)
        wanted = sketch_top(codes, query, 700, impl="numpy")
        np.testing.assert_array_equal(np.sort(got.positions), np.sort(wanted.positions))
        order = np.sort(sketch_top(codes, query, 700, threads=4, impl=level).positions)
        np.testing.assert_array_equal(order, np.sort(wanted.positions))


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("s", [8, 72, 96, 104, 256])
@pytest.mark.parametrize("m", [3, 16, 17, 32, 45, 70])
def test_batches_of_every_size_equal_reference(m, s, level):
    # Tiles take 16 or 32 queries, two or four blocks and up to 64 coordinates: ends of all of them.
    n = 1 + 16 * 37
    codes, query = random_codes(n, s, 0, seed=s), random_query(m, s, 0, m, False)
    allowed = np.random.default_rng(m).random(n) < 0.1
    for rows in (None, allowed):
        got = sketch_top(codes, query, 20, rows, impl=level)
        wanted = sketch_top(codes, query, 20, rows, impl="numpy")
        for a, b in zip(as_sets(got), as_sets(wanted), strict=True):
            np.testing.assert_array_equal(a, b)


def test_extreme_queries_do_not_overflow():
    # All codes at the top level and all weights at the largest integer: the largest sums there are.
    for s in (8, 64, 256):
        codes = empty_codes(17, s, s)
        sketch_encode(np.full((17, 2 * s), 9, np.float32), plain(2 * s, s), codes)
        for sign in (1, -1):
            for wide in (True, False):
                query = quantized(np.full((19, 2 * s), sign, np.float32), s, wide)
                wanted = sketch_top(codes, query, 17, impl="numpy")
                for level in [p.values[0] for p in FORCED if not p.marks]:
                    got = sketch_top(codes, query, 17, impl=level)
                    np.testing.assert_array_equal(np.sort(got.positions), np.sort(wanted.positions))
                    np.testing.assert_array_equal(got.scores, wanted.scores)


def celled(n: int, s: int, t: int, cells: int, seed: int) -> SketchCodes:
    """Codes in cells of very different sizes, some of them empty."""
    rng = np.random.default_rng(seed)
    owner = np.minimum((rng.pareto(0.7, n) * 2).astype(np.int64), cells - 1)
    starts, order = arranged(owner, cells)
    codes = empty_codes(n, s, t, starts, order)
    z = rng.standard_normal((len(codes.body), s + t)).astype(np.float32)
    sketch_encode(z, plain(s + t, s), codes, impl="numpy")
    return codes


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(("n", "s", "t", "cells"), [(100, 24, 6, 7), (5000, 40, 8, 60)])
def test_cells_equal_reference(n, s, t, cells, wide, level):
    rng = np.random.default_rng(n)
    codes, m = celled(n, s, t, cells, seed=n), 19
    weights = rng.standard_normal((m, s + t)).astype(np.float32)
    biases = (30 * rng.standard_normal((m, cells))).astype(np.float32)
    hopes = biases + 40 * rng.random((m, cells), np.float32)
    for promised in (
        Promises(biases, None, 3, 10),
        Promises(biases, hopes, 1, 10),
        Promises(biases, hopes, 3, 1),
        Promises(biases, hopes - 1000, 2, 1),  # the others promise too little
        Promises(biases, hopes, 2, 40),
        Promises(biases, hopes, cells, 10),
    ):
        query = quantized(weights, s, wide, promised)
        for allowed in (None, rng.random(n) < 0.3, rng.random(n) < 0.001):
            got = sketch_top(codes, query, 50, allowed, threads=2, impl=level)
            wanted = sketch_top(codes, query, 50, allowed, impl="numpy")
            np.testing.assert_array_equal(got.counts, wanted.counts)
            for a, b in zip(as_sets(got), as_sets(wanted), strict=True):
                np.testing.assert_array_equal(a, b)
            chosen = sketch_select(codes, query, got, 7, threads=2, impl=level)
            expected = sketch_select(codes, query, got, 7, impl="numpy")
            np.testing.assert_array_equal(np.sort(chosen), np.sort(expected))
    errors = Errors(
        rng.integers(0, 256, (4, len(codes.body))).astype(np.uint8), np.ones(4, np.float32)
    )
    one = quantized(weights[:1], s, True)
    some = rng.choice(cells, 5, replace=False).astype(np.int32)
    for floor in (-1e9, 0.0, 10.0):
        floors = (floor + rng.standard_normal(5)).astype(np.float32)
        bound = Reach(some, floors, floors, 0.01, 0.02, 0.005, 0.01)
        got = sketch_reach(codes, one, errors, bound, allowed, threads=3, impl=level)
        wanted = sketch_reach(codes, one, errors, bound, allowed, impl="numpy")
        np.testing.assert_array_equal(np.sort(got[0]), wanted[0])
        assert got[1] == wanted[1]


def equal_rows(n: int, s: int, cells: int) -> SketchCodes:
    """The same row everywhere, dealt out to the cells in turn."""
    codes = empty_codes(n, s, 0, *arranged(np.arange(n) % cells, cells))
    sketch_encode(np.ones((len(codes.body), s), np.float32), plain(s, s), codes)
    return codes


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("wide", [True, False])
def test_ties_go_to_the_first_positions_whatever_cell_comes_first(wide, level):
    n, s, cells = 3200, 16, 16
    codes = equal_rows(n, s, cells)
    zeros = np.zeros((1, cells), np.float32)
    last_first = np.arange(cells, dtype=np.float32)[None]
    query = quantized(np.ones((1, s), np.float32), s, wide, Promises(zeros, last_first + 1e6, 1, 1))
    got = sketch_top(codes, query, 50, impl=level)
    np.testing.assert_array_equal(as_sets(got)[0][0], np.arange(50))


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("wide", [True, False])
def test_cells_that_promise_too_little_are_left_out(wide, level):
    n, s, cells = 640, 16, 8
    codes = equal_rows(n, s, cells)
    zeros, weights = np.zeros((1, cells), np.float32), np.ones((1, s), np.float32)
    # Every row has the same score: a cell that promises a little more counts, one with less not.
    all_cells = quantized(weights, s, wide, Promises(zeros, None, 1, 1))
    bare, scale = sketch_top(codes, all_cells, 1, impl="numpy"), all_cells.head_scale[0]
    promised = np.full((1, cells), (bare.scores[0, 0] + 50) * scale, np.float32)
    promised[0, 5] += 50 * scale  # looked into first
    promised[0, [2, 6]] -= 100 * scale
    got = sketch_top(
        codes, quantized(weights, s, wide, Promises(zeros, promised, 1, 1)), n, impl=level
    )
    seen = np.unique(codes.rows_at(got.positions[0, : got.counts[0]]) % cells)
    np.testing.assert_array_equal(seen, [0, 1, 3, 4, 5, 7])


def test_offsets_beyond_the_integers_are_scaled():
    codes = celled(300, 8, 2, 3, seed=1)
    weights = np.full((2, 10), 1e-6, np.float32)
    biases = np.array([[-1e4, 0, 1e4], [3e4, 1, -3e4]], np.float32)
    for wide in (True, False):
        query = quantized(weights, 8, wide, Promises(biases, biases, 3, 1))
        wanted = sketch_top(codes, query, 20, impl="numpy")
        for level in [p.values[0] for p in FORCED if not p.marks]:
            got = sketch_top(codes, query, 20, impl=level)
            for a, b in zip(as_sets(got), as_sets(wanted), strict=True):
                np.testing.assert_array_equal(a, b)


def test_sizes_are_refused_by_rule():
    with pytest.raises(ValueError, match="multiple of 8"):
        empty_codes(5, 12, 0)
    with pytest.raises(ValueError, match="7 cells"):
        sketch_top(celled(100, 8, 0, 7, seed=0), random_query(2, 8, 0, 0, True), 5)
    with pytest.raises(ValueError, match="one query"):
        query = random_query(2, 8, 0, 0, True)
        errors = Errors(np.zeros((4, 16), np.uint8), np.ones(4, np.float32))
        floor = np.zeros(1, np.float32)
        bound = Reach(np.zeros(1, np.int32), floor, floor, 0, 0, 0, 0)
        sketch_reach(random_codes(5, 8, 0, 0), query, errors, bound)
