"""Slices of queries and the scales that measure a step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.retrieval.evaluation.measuring import RESET, measured
from attar.retrieval.evaluation.slices import by_length, with_typo


@given(st.text(max_size=40), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_a_typo_exchanges_two_neighbours_and_nothing_else(text: str, seed: int) -> None:
    wrong = with_typo(text, seed)
    assert wrong == with_typo(text, seed)
    assert sorted(wrong) == sorted(text)
    places = [i for i, (a, b) in enumerate(zip(text, wrong, strict=True)) if a != b]
    assert places == [] or (len(places) == 2 and places[1] == places[0] + 1)


def test_every_text_with_two_letters_gets_its_typo() -> None:
    assert with_typo("ab", 0) == "ba"
    assert with_typo("a b 1", 0) == "a b 1"
    assert len({with_typo("rotation of the plane", seed) for seed in range(20)}) > 3


def test_quarters_by_length() -> None:
    texts = ["a", "a b c", "a b", "a b c d", "a b c d e", "a", "a b", "a b c"]
    assert by_length(texts) == {"short": (0, 5), "long": (3, 4)}


@pytest.mark.skipif(not RESET.exists(), reason="only Linux tells the peak of one step")
def test_peak_memory_is_that_of_the_step() -> None:
    kept, cost = measured(lambda: float(np.ones(12_000_000).sum()))
    assert kept == 12_000_000
    assert cost.peak_bytes is not None
    assert 80e6 < cost.peak_bytes < 300e6
    _, small = measured(lambda: 1)
    assert small.peak_bytes is not None and small.peak_bytes < 20e6
    assert cost.cpu > 0
