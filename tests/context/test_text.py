"""Counting, truncation, selection, division and ratios."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.context import (
    EncoderScore,
    Select,
    Truncate,
    compression,
    counter,
    estimate_tokens,
    from_rate,
    from_removed,
    to_rate,
    to_removed,
)
from attar.context.middleware.allocation import divide
from attar.context.text.passages import old_and_recent, shorten_together
from attar.context.text.select import lexical_score, select, split_sentences
from attar.context.text.truncate import ELISION, truncate

WORDS = counter(lambda text: len(text.split()))
ANY_TEXT = st.text(st.characters(blacklist_categories=()), max_size=400)


@settings(deadline=None, max_examples=80)
@given(text=ANY_TEXT, budget=st.integers(4, 60), keep=st.sampled_from(["head", "tail", "ends"]))
def test_truncation_fits_any_text(text, budget, keep):
    short = truncate(text, budget, counter(), keep)
    assert estimate_tokens(short) <= budget
    assert short == text or ELISION in short


@settings(deadline=None, max_examples=80)
@given(text=ANY_TEXT, budget=st.integers(4, 60), query=st.text(max_size=30))
def test_selection_fits_any_text(text, budget, query):
    short = select(text, budget, query, counter())
    assert estimate_tokens(short) <= budget
    assert "".join(split_sentences(text)) == text


def test_truncation_keeps_what_it_says():
    text = " ".join(f"w{i}" for i in range(100))
    assert truncate(text, 6, WORDS, "head") == f"w0 w1 w2 w3 w4 {ELISION}"
    assert truncate(text, 6, WORDS, "tail") == f"{ELISION} w95 w96 w97 w98 w99"
    ends = truncate(text, 6, WORDS).split()
    assert ends[0] == "w0" and ends[-1] == "w99" and ELISION in ends
    assert truncate(text, 0, WORDS) == ELISION


def test_truncation_does_not_cut_inside_a_character():
    family = "👩\u200d👩\u200d👧"
    for size in range(1, 12):
        kept = truncate(family * 8, size, counter(lambda t: len(t)), "head").split(" ")[0]
        assert kept in ("", ELISION) or kept.replace(family, "") == ""


def test_selection_finds_the_sentence_that_a_question_needs():
    filler = [f"The weather on day {i} was mild and nothing else happened." for i in range(60)]
    filler[37] = "The launch code of the northern reactor is QX-4471."
    text = " ".join(filler)
    short = select(text, 60, "What is the launch code of the reactor?", counter())
    assert "QX-4471" in short and estimate_tokens(short) <= 60
    assert "QX-4471" not in truncate(text, 60, counter())


def test_selection_keeps_order_and_marks_gaps():
    text = "Alpha one. Beta two. Gamma three. Delta four. Alpha five."
    short = select(text, 7, "alpha", WORDS)
    assert short.startswith("Alpha one.") and short.endswith("Alpha five.") and ELISION in short


def test_selection_takes_any_score_and_refuses_a_wrong_one():
    text = "One a. Two b. Three c. Four d."
    only = Select(lambda sentences, query: [float("Three" in s) for s in sentences])
    assert "Three" in only(text, 4, "", WORDS)
    with pytest.raises(ValueError, match="one number per sentence"):
        Select(lambda sentences, query: [1.0])(text, 3, "", WORDS)


class Vowels:
    """An encoder of the Protocol: which vowels a text has, nothing else."""

    name, dim, fingerprint = "vowels", 5, "0"

    def encode_documents(self, texts):
        assert texts and all(t.strip() for t in texts)
        return np.array([[t.lower().count(v) for v in "aeiou"] for t in texts], np.float32)

    encode_queries = encode_documents


def test_sentences_are_scored_by_an_encoder():
    sentences = ["Aa. ", "Ooo. ", "\n", "Oo a. "]
    plain = EncoderScore(Vowels(), lexical=0.0)
    assert plain(sentences, "oo") == pytest.approx([0.0, 1.0, -1.0, 2 / 5**0.5])
    assert plain(["\n"], "oo") == lexical_score(["\n"], "oo")
    assert plain(sentences, " ") == lexical_score(sentences, " ")
    words = np.array(lexical_score(sentences, "oo"))
    mixed = EncoderScore(Vowels(), lexical=0.7)(sentences, "oo")
    assert mixed == pytest.approx(
        np.array([0.0, 1.0, -1.0, 2 / 5**0.5]) + 0.7 * words / words.max()
    )
    text = "A sad cat. " * 9 + "Moon of joy. " + "A fat rat. " * 9
    short = Select(plain)(text, 8, "who took root", WORDS)
    assert "Moon of joy." in short and "Moon" not in select(text, 8, "who took root", WORDS)
    with pytest.raises(ValueError, match="lexical"):
        EncoderScore(Vowels(), lexical=-1)


def test_scores_prefer_rare_words_and_identifiers():
    scores = lexical_score(["the cat", "the dog", "plain words", "build 4f2a91"], "the dog")
    assert scores[1] > scores[0] and scores[3] > scores[2]


@settings(deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.integers(0, 500), max_size=30),
    available=st.integers(-50, 5000),
    recent=st.floats(0, 1),
)
def test_division_never_gives_more_than_there_is(sizes, available, recent):
    shares = divide(sizes, available, recent)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert sum(shares) <= max(0, available)
    if available >= sum(sizes):
        assert shares == sizes


def test_division_keeps_recent_texts_raw_and_old_ones_level():
    assert divide([100, 10, 100, 100], 200, 0.5) == [45, 10, 45, 100]


@pytest.mark.parametrize("spec", [3, object()])
def test_a_counter_is_something_that_counts(spec):
    with pytest.raises(TypeError, match="token count"):
        counter(spec)


def test_a_counter_that_lies_is_refused():
    with pytest.raises(TypeError, match="int >= 0"):
        counter(lambda text: -1).text("x")


def test_tokenizers_and_encodings_are_counted_by_name():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert counter(tokenizer).text("a b c a") == 4
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes([i]): i for i in range(256)}
    encoding = tiktoken.Encoding(
        "bytes", pat_str=r"(?s).", mergeable_ranks=ranks, special_tokens={"<|end|>": 256}
    )
    count = counter(encoding)
    assert count.name == "bytes" and count.text("<|end|>") == 7


def test_the_estimate_is_not_below_one_token_per_word():
    assert estimate_tokens("the cat sat") == 3
    assert (
        estimate_tokens("2024") == 4 and estimate_tokens("世界") == 3 and estimate_tokens("") == 0
    )


@settings(deadline=None, max_examples=50)
@given(st.floats(1.0, 100.0))
def test_ratios_convert_both_ways(ratio):
    assert from_rate(to_rate(ratio)) == pytest.approx(ratio)
    assert from_removed(to_removed(ratio)) == pytest.approx(ratio)


def test_ratios_by_their_names():
    assert compression(100, 50) == 2.0 and to_rate(2.0) == 0.5 and to_removed(4.0) == 0.75
    assert compression(0, 0) == 1.0
    for call in (lambda: compression(1, 0), lambda: from_rate(0), lambda: from_removed(1)):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError, match="head, tail, ends"):
        Truncate("middle")


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text("ab. ", max_size=80), max_size=6),
    budget=st.integers(1, 60),
    recent=st.floats(0, 1),
)
def test_passages_and_old_texts_fit_their_budget(texts, budget, recent):
    short = shorten_together(texts, budget, "a", counter(), Select())
    assert len(short) == len(texts)
    assert sum(estimate_tokens(s) for s in short) <= budget
    joined = "".join(texts)
    assert (
        estimate_tokens(old_and_recent(joined, budget, "a", counter(), Select(), recent)) <= budget
    )


def test_the_recent_end_stays_raw_and_the_old_part_is_selected():
    text = "Rain fell. " * 80 + "The code is QX-4471. " + "Wind blew. " * 80 + "So it ends today."
    short = old_and_recent(text, 60, "which code", counter(), Select())
    assert "QX-4471" in short and short.endswith("Wind blew. So it ends today.")
    with pytest.raises(ValueError, match="recent"):
        old_and_recent(text, 60, "", counter(), Select(), 2.0)
    with pytest.raises(ValueError, match="budget"):
        shorten_together(["a"], 0, "", counter(), Select())
