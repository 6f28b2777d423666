"""Selection: the sentences (or lines) of a text that a question needs, in their order."""

import math
import re
from collections import Counter as Multiset
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attar.context.counting import Counter
from attar.context.text.truncate import ELISION, truncate

Score = Callable[[Sequence[str], str], Sequence[float]]
"""Scores sentences against a query, higher is better, one number per sentence."""

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=[^\s])|(?<=[。！？])|\n+")
_IDENTIFIER = re.compile(r"\b(?=\w*\d)(?=\w*[a-zA-Z_])\w{4,}\b|\b\d{2,}\b|\b\d+(?:\.\d+)+\b")


def split_sentences(text: str) -> list[str]:
    """Cut a text after sentence ends and line breaks; the pieces join back to the text exactly."""
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False) if a < b]


def lexical_score(sentences: Sequence[str], query: str) -> list[float]:
    """BM25 of each sentence for the query (k1 = 1.2, b = .5), plus small priors.

    The priors order what the query says nothing about: identifiers and numbers (0.3 each, at most
    three) and the first and last sentence (0.5), where people put what matters.
    """
    words = [Multiset(w.lower() for w in _WORD.findall(s)) for s in sentences]
    wanted = {w.lower() for w in _WORD.findall(query)}
    seen = Multiset(w for bag in words for w in bag if w in wanted)
    mean = sum(bag.total() for bag in words) / max(1, len(words)) or 1.0
    scores = []
    for i, (bag, sentence) in enumerate(zip(words, sentences, strict=True)):
        length = 0.5 + 0.5 * bag.total() / mean
        score = sum(
            math.log(1 + (len(words) - seen[w] + 0.5) / (seen[w] + 0.5))
            * bag[w]
            * 2.2
            / (bag[w] + 1.2 * length)
            for w in sorted(wanted & bag.keys())
        )
        score += 0.3 * min(3, len(_IDENTIFIER.findall(sentence)))
        scores.append(score + 0.5 * (i in (0, len(words) - 1)))
    return scores


def select(text: str, budget: int, query: str, count: Counter, score: Score = lexical_score) -> str:
    """Keep the best sentences of a text within `budget` tokens, in their order.

    1. Cut into sentences and lines. 2. Score each against the query. 3. Take them by descending
    score, earlier first among equals, while they fit. 4. Put an elision where text was left out.
    When no sentence fits, both ends of the text are kept instead.

    Raises
    ------
    ValueError
        For a negative budget, or a `score` that does not return one number per sentence.
    """
    if budget < 0:
        raise ValueError(f"A budget is a number of tokens >= 0, got {budget}.")
    if count.text(text) <= budget:
        return text
    sentences = split_sentences(text)
    scores = list(score(sentences, query))
    if len(scores) != len(sentences):
        raise ValueError(
            f"A score returns one number per sentence, got {len(scores)} for {len(sentences)}."
        )
    kept = _fill(sentences, scores, budget, count)
    while kept:
        shortened = _joined(sentences, kept)
        if count.text(shortened) <= budget:
            return shortened
        kept.remove(min(kept, key=lambda i: (scores[i], -i)))
    return truncate(text, budget, count)


def _fill(sentences: list[str], scores: list[float], budget: int, count: Counter) -> set[int]:
    elision = count.text(f" {ELISION} ")
    room = budget - elision
    kept: set[int] = set()
    for i in sorted(range(len(sentences)), key=lambda i: (-scores[i], i)):
        # A sentence away from all that is kept costs an elision of its own.
        alone = not {i - 1, i + 1} & kept
        cost = count.text(sentences[i]) + elision * alone
        if cost <= room and sentences[i].strip():
            kept.add(i)
            room -= cost
    return kept


def _joined(sentences: list[str], kept: set[int]) -> str:
    parts: list[str] = []
    gap = False
    for i, sentence in enumerate(sentences):
        if i in kept:
            if gap:
                parts.append(f"{ELISION} ")
            parts.append(sentence if sentence[-1:].isspace() else f"{sentence} ")
            gap = False
        else:
            gap = True
    return "".join([*parts, ELISION] if gap else parts).rstrip()


@dataclass(frozen=True)
class Select:
    """Selection as a text compressor; `score` may come from an encoder of the retrieval room."""

    score: Score = lexical_score

    def __call__(self, text: str, budget: int, query: str, count: Counter) -> str:
        """Shorten `text` to `budget` tokens for this query."""
        return select(text, budget, query, count, self.score)
