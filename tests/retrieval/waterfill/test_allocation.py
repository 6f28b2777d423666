"""Greedy widths spend the bytes exactly, fall with the weights, and beat the closed form."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.retrieval.allocation import closed_form_counts, greedy_counts
from attar.retrieval.levels import DISTORTION


def widths_of(counts: tuple[int, ...], dim: int) -> np.ndarray:
    return sum(np.arange(dim) < count for count in counts)


def left_over(weights: np.ndarray, counts: tuple[int, ...]) -> float:
    return float(np.sum(weights * np.array(DISTORTION)[widths_of(counts, len(weights))]))


falling = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60).map(
    lambda x: np.sort(np.array(x))[::-1]
)


@settings(max_examples=150, deadline=None)
@given(weights=falling, share=st.floats(0.01, 1))
def test_bytes_are_spent_exactly_and_widths_fall(weights: np.ndarray, share: float) -> None:
    groups = -(-len(weights) // 8)
    size = max(1, int(share * 8 * groups))
    counts = greedy_counts(weights, size)
    assert sum(-(-count // 8) for count in counts) == size
    assert all(a >= b for a, b in pairwise(counts))
    assert all(count % 8 == 0 or count == counts[0] == len(weights) for count in counts)


def test_greedy_is_the_best_of_all_allocations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        weights = np.sort(rng.lognormal(0, 2, 32))[::-1]
        for size in (3, 7, 12):
            group = weights.reshape(4, 8).sum(axis=1)
            table = np.array(DISTORTION)
            best = min(
                float(group @ table[list(w)]) for w in product(range(9), repeat=4) if sum(w) == size
            )
            assert left_over(weights, greedy_counts(weights, size)) == pytest.approx(best)


def test_greedy_beats_the_rounded_closed_form_at_no_more_bytes() -> None:
    spectrum = np.arange(1, 385) ** -1.3
    for size in (46, 94, 190):
        closed = closed_form_counts(spectrum, size)
        assert size - 24 <= sum(-(-count // 8) for count in closed) <= size
        greedy = greedy_counts(spectrum, sum(-(-count // 8) for count in closed))
        assert left_over(spectrum, greedy) <= left_over(spectrum, closed)


@pytest.mark.parametrize("size", [0, 17])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 16 bytes of planes"):
        greedy_counts(np.ones(13), size)
