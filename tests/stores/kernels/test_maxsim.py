"""MaxSim over codes: by hand; native equals numpy at every level, odd sizes, masks, threads."""

import numpy as np
import pytest

from attar.stores.kernels.exact import source
from attar.stores.kernels.exact.reference import all_scores
from attar.stores.kernels.library import LEVELS, levels
from attar.stores.kernels.maxsim import best_in_groups, sum_of_best
from tests.stores.kernels.material import ROWS, make, queries

FORCED = [
    pytest.param(
        level, marks=() if level in levels() else pytest.mark.skip(f"no {level} on this machine")
    )
    for level in LEVELS
]


def groups(n, count, seed):
    """Starts of `count` groups of n rows; some are empty."""
    inner = np.sort(np.random.default_rng(seed).integers(0, n + 1, count - 1))
    return np.concatenate([[0], inner, [n]]).astype(np.int64)


def test_the_reference_is_the_best_canonical_score_of_each_group():
    codes, query = source(*make("int8", 40, 24, seed=1)), queries(3, 24, seed=2)
    starts = np.array([0, 7, 7, 40])
    got = best_in_groups(codes, query, starts, impl="numpy")
    for q in range(3):
        every = all_scores(codes.layout.unpack(codes.codes), None, query, q)
        assert got[q].tolist() == [every[:7].max(), -np.inf, every[7:].max()]


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("n", "dim", "count"), [(1, 1, 1), (63, 24, 9), (100, 63, 100)])
def test_native_equals_reference(name, level, n, dim, count):
    codes, query = source(*make(name, n, dim, seed=n)), queries(3, dim, seed=dim)
    starts = groups(n, count, seed=dim)
    wanted = best_in_groups(codes, query, starts, impl="numpy")
    np.testing.assert_array_equal(best_in_groups(codes, query, starts, impl=level), wanted)


@pytest.mark.parametrize("level", FORCED)
@pytest.mark.parametrize("threads", [1, 3])
def test_masks_norms_and_threads_change_nothing(level, threads):
    rng = np.random.default_rng(3)
    layout, codes = make("float8_e4m3", 1003, 48, seed=4)
    held = source(layout, codes, rng.uniform(0, 50, 1003).astype(np.float32))
    query, starts = queries(5, 48, seed=5), groups(1003, 60, seed=6)
    for share in (0.0, 0.02, 0.9):
        mask = rng.random(1003) < share
        np.testing.assert_array_equal(
            best_in_groups(held, query, starts, mask, threads, impl=level),
            best_in_groups(held, query, starts, mask, impl="numpy"),
        )


def test_sums_follow_the_questions():
    best = np.array([[1, 2], [10, 20], [100, 200]], np.float32)
    assert sum_of_best(best, np.array([0, 1, 3])).tolist() == [[1, 2], [110, 220]]
    assert sum_of_best(best, np.array([0, 0])).tolist() == [[0, 0]]


def test_starts_must_cover_the_rows():
    codes, query = source(*make("int8", 5, 8, seed=0)), queries(1, 8, seed=0)
    for starts in ([0, 4], [1, 5], [0, 3, 2, 5], []):
        with pytest.raises(ValueError, match="ascends from 0 to 5"):
            best_in_groups(codes, query, np.array(starts, np.int64))
