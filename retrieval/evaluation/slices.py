"""Queries that are harder than the mean: the long, the short, and those with a typing error."""

from collections.abc import Sequence

import numpy as np

QUARTER = 0.25


def by_length(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Positions of the longest and of the shortest quarter of the texts, by words.

    Texts of one length count by position, so that both have floor(m / 4) queries, at least one.
    """
    words = np.array([len(text.split()) for text in texts])
    order = np.argsort(words, kind="stable")
    count = max(1, int(len(texts) * QUARTER))
    return {
        "short": tuple(sorted(order[:count].tolist())),
        "long": tuple(sorted(order[-count:].tolist())),
    }


def with_typo(text: str, seed: int) -> str:
    """Exchange two different neighbouring letters inside one word, seeded by text and seed.

    A text without such a pair comes back as it is.
    """
    pairs = [
        i
        for i in range(len(text) - 1)
        if text[i].isalpha() and text[i + 1].isalpha() and text[i] != text[i + 1]
    ]
    if not pairs:
        return text
    draw = np.random.default_rng([seed, *text.encode()])
    at = pairs[int(draw.integers(len(pairs)))]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
