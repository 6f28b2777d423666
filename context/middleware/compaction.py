"""One compaction: a conversation above its budget is brought down to half of it."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from attar.context.counting import Counter
from attar.context.middleware.allocation import divide
from attar.context.middleware.originals import original_id
from attar.context.middleware.view import Kind, Message, Piece, Replacements
from attar.context.text.truncate import ELISION

TextCompressor = Callable[[str, int, str, Counter], str]
"""(text, budget in tokens, query, counter) -> a shorter text."""

NOTHING = "…"
"""What stays of a text that is left out altogether: some servers refuse empty content."""

_ROUNDS = 6


class BudgetError(ValueError):
    """What must not be touched alone exceeds the budget."""


@dataclass(frozen=True)
class Rules:
    """What may be touched and how far.

    budget: tokens of the whole request, template and tool schemas included. compressor: shortens a
    text. recent: the share of a compaction's free tokens that the newest texts get as they are.
    tool_results: tokens to which a tool's text is cut when it first appears; None leaves it alone.
    compress_json, compress_errors: also shorten tool results that are JSON, or errors.
    image_tokens: what an image is counted as. label: end shortened texts with the id of their
    original, for models that have a tool to ask for it.
    """

    budget: int
    compressor: TextCompressor
    recent: float = 0.5
    tool_results: int | None = None
    compress_json: bool = False
    compress_errors: bool = False
    image_tokens: int = 1600
    label: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.budget, bool) or not isinstance(self.budget, int) or self.budget < 1:
            raise ValueError(f"budget is a number of tokens >= 1, got {self.budget!r}.")
        if not 0 <= self.recent <= 1:
            raise ValueError(f"recent is a share in [0, 1], got {self.recent}.")
        if self.tool_results is not None and self.tool_results < 1:
            raise ValueError(f"tool_results is None or tokens >= 1, got {self.tool_results}.")
        if self.image_tokens < 0:
            raise ValueError(f"image_tokens is >= 0, got {self.image_tokens}.")

    def touchable(self, kind: Kind) -> bool:
        """Say whether a piece of this kind may ever be shortened."""
        return (
            kind in (Kind.USER, Kind.ASSISTANT, Kind.TOOL)
            or (kind is Kind.JSON and self.compress_json)
            or (kind is Kind.ERROR and self.compress_errors)
        )

    def fingerprint(self) -> bytes:
        """Identify the rules within this process, for what is remembered under them."""
        return blake2b(repr(self).encode(), digest_size=16).digest()


def newest_turn(messages: tuple[Message, ...]) -> frozenset[int]:
    """Return the indices of the newest user turn: the last run of user messages.

    An assistant message at the very end (a prefill) belongs to it: the model goes on writing it.
    """
    protected = set()
    i = len(messages) - 1
    if i >= 0 and messages[i].role == "assistant":
        protected.add(i)
    while i >= 0 and messages[i].role != "user":
        i -= 1
    while i >= 0 and messages[i].role == "user":
        protected.add(i)
        i -= 1
    return frozenset(protected)


def query_of(messages: tuple[Message, ...]) -> str:
    """Return the text of the newest user turn: what compressed text is selected for."""
    newest = newest_turn(messages)
    texts = [p.text for i in sorted(newest) for p in messages[i].pieces if p.kind is Kind.USER]
    return "\n".join(texts)


def candidates(messages: tuple[Message, ...], rules: Rules) -> list[Piece]:
    """Return the texts that a compaction may shorten, oldest first."""
    newest = newest_turn(messages)
    return [
        piece
        for i, message in enumerate(messages)
        for piece in message.pieces
        if rules.touchable(piece.kind)
        and not (i in newest and piece.kind in (Kind.USER, Kind.ASSISTANT))
    ]


def compact(
    messages: tuple[Message, ...],
    rules: Rules,
    count: Counter,
    total: Callable[[Replacements], int],
    entered: Replacements,
    earlier: Replacements,
) -> Replacements:
    """Shorten old texts, always from their originals, until the request is half the budget.

    total: tokens of the whole request under these replacements. entered: tool results that were
    shortened when they first appeared; they count as whole at that length and never grow back.
    earlier: what was shortened so far.
    1. Count what is left when every text is an elision; above the budget there is nothing to do.
    2. What earlier compactions went through stays as it was sent, if that leaves a quarter of what
    is free: so the provider's cache still holds that prefix. 3. Divide what is free: newest
    texts raw, older ones under one level. 4. Shorten; count; if the parts did not add up, divide
    less. Where half the budget cannot be reached, a quarter of what lies between the least and the
    budget is spent on text.

    Raises
    ------
    BudgetError
        If what is protected exceeds the budget.
    """
    pieces = candidates(messages, rules)
    wholes = [entered.get(p.path, p.text) for p in pieces]
    sizes = [count.text(whole) for whole in wholes]
    least = count.text(NOTHING)
    floor = {p.path: NOTHING for p, size in zip(pieces, sizes, strict=True) if size > least}
    protected = total(floor)
    if protected > rules.budget:
        raise BudgetError(
            "The budget must hold what is never touched (system text, tool schemas, calls, JSON, "
            f"errors, the newest user turn): it is {rules.budget} tokens, they are {protected}. "
            "Raise the budget, or pass fewer tools or a shorter turn."
        )
    target = rules.budget // 2
    if protected > target:
        target = protected + (rules.budget - protected) // 4
    room = target - protected + sum(min(size, least) for size in sizes)
    settled = _settled(pieces, earlier, entered)
    spent = sum(count.text(earlier.get(p.path, p.text)) for p in pieces[:settled])
    if spent > room * 3 // 4:
        settled = spent = 0
    kept = {p.path: earlier[p.path] for p in pieces[:settled] if p.path in earlier}
    rest = list(zip(pieces, sizes, strict=True))[settled:]
    query, free = query_of(messages), room - spent
    for _ in range(_ROUNDS):
        result = kept | _divided(rest, free, query, rules, count, entered)
        over = total(result) - target
        if over <= 0:
            return result
        free -= over + over // 8 + 1
    return floor


def _divided(
    sized: list[tuple[Piece, int]], free: int, query: str, rules: Rules, count: Counter,
    entered: Replacements,
) -> Replacements:  # fmt: skip
    """Shorten texts to their shares of `free` tokens; what is whole stays as it entered."""
    result: Replacements = {}
    shares = divide([size for _, size in sized], free, rules.recent)
    for (piece, size), share in zip(sized, shares, strict=True):
        cut = share < size
        short = _shortened(piece.text, share, query, rules, count) if cut else None
        short = short if cut else entered.get(piece.path)
        if short is not None:
            result[piece.path] = short
    return result


def _settled(pieces: list[Piece], earlier: Replacements, entered: Replacements) -> int:
    """Return how many of the oldest pieces earlier compactions went through."""
    shortened = [
        i for i, p in enumerate(pieces) if earlier.get(p.path) not in (None, entered.get(p.path))
    ]
    return shortened[-1] + 1 if shortened else 0


def _shortened(text: str, share: int, query: str, rules: Rules, count: Counter) -> str | None:
    """Shorten one text to its share; None where that would not make it shorter."""
    label = f" [original {original_id(text)}]" if rules.label else ""
    room = share - count.text(label) if label else share
    if room <= count.text(ELISION):
        label, room = "", share
    short = rules.compressor(text, room, query, count) if room > count.text(ELISION) else NOTHING
    short = (short or NOTHING) + label
    return short if count.text(short) < count.text(text) else None
