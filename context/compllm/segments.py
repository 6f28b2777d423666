"""Texts cut into the short, independent segments that CompLLM compresses."""

from collections.abc import Iterable, Sequence
from typing import Any

from attar.context.text.select import split_sentences


def cut(ids: Sequence[int], size: int = 20, starts: Iterable[int] = (0,)) -> list[list[int]]:
    """Cut token ids into segments of at most `size`, restarting at each of `starts`.

    A segment depends on nothing before the last start, so that a document yields the same segments
    wherever it stands. The segments join back to `ids`.

    Raises
    ------
    ValueError
        For a size below 1, or a start outside the ids.
    """
    if size < 1:
        raise ValueError(f"A segment has at least one token, got size {size}.")
    edges = sorted({0, *starts, len(ids)})
    if edges[0] < 0 or edges[-1] > len(ids):
        raise ValueError(f"Starts lie in [0, {len(ids)}], got {edges[0]} … {edges[-1]}.")
    return [
        list(ids[i : min(i + size, b)])
        for a, b in zip(edges, edges[1:], strict=False)
        for i in range(a, b, size)
    ]


def recent_start(sizes: Sequence[int], recent: int) -> int:
    """Return from which index on as many sizes as possible at the end have `recent` together.

    Raises
    ------
    ValueError
        For `recent` below 0.
    """
    if recent < 0:
        raise ValueError(f"recent is >= 0, got {recent}.")
    at, room = len(sizes), recent
    while at and sizes[at - 1] <= room:
        at -= 1
        room -= sizes[at]
    return at


def segment_text(
    texts: str | Sequence[str], tokenizer: Any, size: int = 20, fill: float = 0.5
) -> list[list[int]]:
    """Tokenise documents and cut them at document and sentence starts.

    texts: one document or several; each starts a segment. A sentence starts a new segment once the
    current one is at least `fill` full, in [0, 1]; 0 restarts at every sentence. Empty documents
    give no segments. Special tokens in the text are not interpreted as such by fast tokenizers with
    `split_special_tokens`; they never become control tokens here.

    Raises
    ------
    ValueError
        For a size below 1 or `fill` outside [0, 1].
    """
    if not 0 <= fill <= 1:
        raise ValueError(f"fill is a share in [0, 1], got {fill}.")
    segments: list[list[int]] = []
    for text in [texts] if isinstance(texts, str) else texts:
        ids: list[int] = []
        starts = [0]
        for sentence in split_sentences(text):
            if len(ids) - starts[-1] >= max(1, fill * size):
                starts.append(len(ids))
            ids += _plain_ids(tokenizer, sentence)
        segments += cut(ids, size, [s for s in starts if s <= len(ids)])
    return segments


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Tokenise text so that what looks like a control token stays text."""
    encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=True)
    return [int(i) for i in encoded["input_ids"]]
