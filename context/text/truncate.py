"""Truncation: the baseline that every comparison lists, and the last resort of all others."""

import unicodedata
from dataclasses import dataclass
from typing import Literal

from attar.context.counting import Counter

ELISION = "[…]"
"""What stands where text was left out."""


def truncate(text: str, budget: int, count: Counter, keep: str = "ends") -> str:
    """Keep the head, the tail or both ends of a text, within `budget` tokens, elision included.

    Cuts fall on white space where there is some in the last 32 characters, and never inside a
    combined character. A budget below the elision's own tokens still gives the elision: a message
    must not become empty.

    Raises
    ------
    ValueError
        For a negative budget, or `keep` other than head, tail, ends.
    """
    if budget < 0:
        raise ValueError(f"A budget is a number of tokens >= 0, got {budget}.")
    if keep not in ("head", "tail", "ends"):
        raise ValueError(f"keep is one of head, tail, ends, got {keep!r}.")
    if count.text(text) <= budget:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count.text(_kept(text, middle, keep)) <= budget:
            low = middle
        else:
            high = middle - 1
    return _kept(text, low, keep)


def _kept(text: str, size: int, keep: str) -> str:
    head = {"head": size, "tail": 0, "ends": (size + 1) // 2}[keep]
    tail = size - head
    first = text[: _boundary(text, head, -1)].rstrip() if head else ""
    last = text[_boundary(text, len(text) - tail, 1) :].lstrip() if tail else ""
    return " ".join(part for part in (first, ELISION, last) if part)


def _boundary(text: str, at: int, step: Literal[-1, 1]) -> int:
    """Move a cut to white space at most 32 characters away, else out of a combined character."""
    for distance in range(32):
        cut = at + step * distance
        if not 0 < cut < len(text):
            break
        if text[cut].isspace() or text[cut - 1].isspace():
            return cut
    while 0 < at < len(text) and _joins(text[at - 1], text[at]):
        at += step
    return at


def _joins(before: str, after: str) -> bool:
    joiners = ("\u200d", "\ufe0f")
    return bool(
        unicodedata.combining(after)
        or after in joiners
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
    )


@dataclass(frozen=True)
class Truncate:
    """Truncation as a text compressor; `keep` is head, tail or ends."""

    keep: str = "ends"

    def __post_init__(self) -> None:
        if self.keep not in ("head", "tail", "ends"):
            raise ValueError(f"keep is one of head, tail, ends, got {self.keep!r}.")

    def __call__(self, text: str, budget: int, query: str, count: Counter) -> str:
        """Shorten `text` to `budget` tokens; the query plays no part."""
        del query
        return truncate(text, budget, count, self.keep)
