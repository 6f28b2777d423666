"""Several passages shortened together, under one budget."""

from collections.abc import Sequence

from attar.context.counting import Counter
from attar.context.middleware.allocation import water_level
from attar.context.middleware.compaction import TextCompressor
from attar.context.text.truncate import ELISION


def shorten_together(
    texts: Sequence[str], budget: int, query: str, count: Counter, compressor: TextCompressor
) -> list[str]:
    """Shorten passages so that they have `budget` tokens together; one text each, "" for nothing.

    Passages up to a common level stay whole, longer ones are cut to it. A share that could hold no
    more than an elision gives "".

    Raises
    ------
    ValueError
        For a budget below 1.
    """
    if budget < 1:
        raise ValueError(f"A budget is a number of tokens >= 1, got {budget}.")
    sizes = [count.text(text) for text in texts]
    level = water_level(sizes, budget)
    least = count.text(ELISION)
    return [
        text if size <= level
        else compressor(text, level, query, count) if level > least
        else ""
        for text, size in zip(texts, sizes, strict=True)
    ]  # fmt: skip


def old_and_recent(
    text: str, budget: int, query: str, count: Counter, compressor: TextCompressor,
    recent: float = 0.5,
) -> str:  # fmt: skip
    """Compress the old part of a text and keep its recent end raw ("compressed old + raw recent").

    recent: the share of the budget that the end of the text gets as it is, in [0, 1].

    Raises
    ------
    ValueError
        For a budget below 1 or a share outside [0, 1].
    """
    if budget < 1 or not 0 <= recent <= 1:
        raise ValueError(f"budget >= 1 and recent in [0, 1], got {budget} and {recent}.")
    if count.text(text) <= budget:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count.text(text[len(text) - middle :]) <= recent * budget:
            low = middle
        else:
            high = middle - 1
    old, end = text[: len(text) - low], text[len(text) - low :]
    room = budget - count.text(end)
    while room > 0:
        short = compressor(old, room, query, count)
        over = count.text(short + end) - budget
        if over <= 0:
            return short + end
        room -= over
    return end
