"""Front and choice, sizes, the limit, and the sample of a corpus."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.retrieval.planner.choice import Goal, choose, front, parse_size
from attar.retrieval.planner.corpus_sample import draw_sample, one_sentence
from attar.retrieval.planner.gaussian import gaussian_channel, water_level
from attar.retrieval.planner.measurement import Point
from attar.retrieval.planner.prediction import Prediction
from attar.retrieval.sources import read_source
from tests.attar.hashed import embed
from tests.retrieval.planner.clusters import draw

NUMBERS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), min_size=1, max_size=12)


def points(numbers: list[tuple[int, int]]) -> list[Point]:
    return [
        Point(f"c{i}", size, 0, size, Prediction(q / 100, q / 100 - 0.01, q / 100 + 0.01, q / 100))
        for i, (size, q) in enumerate(numbers)
    ]


@given(NUMBERS)
@settings(deadline=None, max_examples=80)
def test_the_front_holds_what_nothing_beats(numbers: list[tuple[int, int]]) -> None:
    every = points(numbers)
    kept = front(every)
    for point in every:
        better = [
            other
            for other in every
            if other.total_bytes <= point.total_bytes
            and other.quality.mean >= point.quality.mean
            and (other.total_bytes, other.quality.mean) != (point.total_bytes, point.quality.mean)
        ]
        if point in kept:
            assert not better
        else:
            assert better or any(
                (o.total_bytes, o.quality.mean) == (point.total_bytes, point.quality.mean)
                for o in kept
            )


def test_a_choice_is_judged_by_the_lower_end() -> None:
    every = points([(10, 90), (20, 95), (30, 99)])
    assert choose(every, Goal(keep=0.95)).spec == "c2"
    assert choose(every, Goal(keep=0.94)).spec == "c1"
    assert choose(every, Goal(budget=29)).spec == "c1"
    with pytest.raises(ValueError, match="smallest candidate, c0, takes 10 bytes"):
        choose(every, Goal(budget=9))
    with pytest.raises(ValueError, match="c2 surely keeps 0.98"):
        choose(every, Goal(keep=0.999))


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({}, "one goal"),
        ({"budget": 1, "keep": 0.5}, "one goal"),
        ({"keep": 1.5}, "at most 1"),
        ({"keep": 0.5, "metric": "recall"}, "overlap@10 or ndcg@10"),
    ],
)
def test_goals_that_say_nothing_are_refused(goal: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Goal(**goal)


def test_sizes() -> None:
    assert parse_size("200MB") == 200_000_000
    assert parse_size("1.5 GiB") == 3 * 2**29
    assert parse_size("96") == 96
    for wrong in ("", "MB", "-1MB", "3 parsecs", "0"):
        with pytest.raises(ValueError, match="A size is a number"):
            parse_size(wrong)


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=20), st.floats(0.1, 200))
@settings(deadline=None, max_examples=60)
def test_the_water_level_spends_the_bits(variance: list[float], bits: float) -> None:
    spectrum = np.array(variance)
    level = water_level(spectrum, bits)
    spent = np.maximum(0, np.log2(spectrum / level) / 2).sum()
    assert spent == pytest.approx(bits, rel=1e-6, abs=1e-6)


def test_the_channel_makes_the_error_that_the_curve_says() -> None:
    x = draw(4_000, 1)
    channel = gaussian_channel(x)
    for nbytes in (6, 12, 24):
        level = water_level(channel.variance, 8 * nbytes)
        got = (channel.coded(nbytes, 0).astype(np.float64) - channel.mean) @ np.linalg.inv(
            channel.synthesis.T
        )
        error = np.mean((got - channel.coords) ** 2, axis=0).sum()
        assert error == pytest.approx(np.minimum(level, channel.variance).sum(), rel=0.03)


def corpus(folder: Path, n: int, order: int = 1) -> Path:
    path = folder / f"c{order}.jsonl"
    lines = [
        json.dumps({"_id": f"d{i}", "text": f"Number {i} is here. It has many digits of {i}."})
        for i in range(n)
    ]
    path.write_text("\n".join(lines[::order]) + "\n")
    return path


class Hashed:
    name, dim, fingerprint = "hashed", 48, ""
    encode_documents = staticmethod(embed)
    encode_queries = staticmethod(embed)


def test_the_sample_depends_on_ids_and_seed_alone(tmp_path: Path) -> None:
    first = draw_sample(read_source(corpus(tmp_path, 300)), Hashed(), 50, None, 20, 0)
    turned = draw_sample(read_source(corpus(tmp_path, 300, -1)), Hashed(), 50, None, 20, 0)
    other = draw_sample(read_source(corpus(tmp_path, 300)), Hashed(), 50, None, 20, 1)
    assert first.ids == turned.ids != other.ids
    assert (first.documents == turned.documents).all() and (first.queries == turned.queries).all()
    assert (len(first.ids), len(first.queries), first.total) == (50, 20, 300)
    assert first.origin == "sentences of held-out documents"


def test_pseudo_queries_are_sentences_of_documents_outside_the_sample(tmp_path: Path) -> None:
    drawn = draw_sample(read_source(corpus(tmp_path, 60)), Hashed(), 100, None, 20, 0)
    assert (len(drawn.ids), len(drawn.queries)) == (54, 6)
    gone = {f"d{i}" for i in range(60)} - set(drawn.ids)
    texts = [f"Number {i[1:]} is here." for i in gone] + [
        f"It has many digits of {i[1:]}." for i in gone
    ]
    possible = embed(texts)
    assert all((possible == query).all(axis=1).any() for query in drawn.queries)


def test_bare_vectors_ask_with_held_out_vectors(tmp_path: Path) -> None:
    x = draw(200, 1)
    np.save(tmp_path / "x.npy", x)
    drawn = draw_sample(read_source(tmp_path / "x.npy"), None, 100, None, 15, 0)
    assert (drawn.documents == x[[int(name) for name in drawn.ids]]).all()
    assert not (drawn.queries[:, None] == drawn.documents[None]).all(axis=2).any()
    assert all((x == query).all(axis=1).any() for query in drawn.queries)
    given_queries = draw_sample(read_source(tmp_path / "x.npy"), None, 500, x[:3], 15, 0)
    assert (len(given_queries.ids), given_queries.origin) == (200, "given")


def test_judged_documents_are_always_drawn(tmp_path: Path) -> None:
    always = {"d7", "d123", "d299"}
    asked = np.ones((1, 48), np.float32)
    drawn = draw_sample(read_source(corpus(tmp_path, 300)), Hashed(), 20, asked, 0, 0, always)
    assert always < set(drawn.ids) and len(drawn.ids) == 20


def test_a_corpus_too_small_for_pseudo_queries_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass --queries"):
        draw_sample(read_source(corpus(tmp_path, 9)), Hashed(), 5, None, 5, 0)


def test_one_sentence_is_one_of_the_text() -> None:
    text = "Hm. The wing meets the flow at an angle. It stalls at high angles!\nShort one."
    drawn = {one_sentence(text, seed) for seed in range(20)}
    assert drawn == {"The wing meets the flow at an angle.", "It stalls at high angles!"}
    assert one_sentence("Too short.", 0) == "Too short."
