"""What a request cost, what it would have cost, and what was touched."""

from dataclasses import dataclass

from attar.context.middleware.view import Path
from attar.context.ratio import compression


@dataclass(frozen=True)
class Prices:
    """Prices per million tokens, in any one currency: plain input, cached reads, cache writes."""

    input: float
    cache_read: float
    cache_write: float | None = None

    def __post_init__(self) -> None:
        if min(self.input, self.cache_read, self.write) < 0:
            raise ValueError(f"Prices are not negative, got {self}.")

    @staticmethod
    def parse(text: str) -> "Prices":
        """Read `INPUT,CACHE_READ[,CACHE_WRITE]`, such as 3,0.3,3.75."""
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if not 2 <= len(numbers) <= 3:
            raise ValueError(f"Prices are INPUT,CACHE_READ[,CACHE_WRITE], got {text!r}.")
        return Prices(*numbers)

    @property
    def write(self) -> float:
        """What a cached token costs when first seen; the plain price where none is given."""
        return self.input if self.cache_write is None else self.cache_write

    def cost(self, reads: int, writes: int) -> float:
        """Money for a request that reads and writes so many tokens."""
        return (reads * self.cache_read + writes * self.write) / 1e6


@dataclass(frozen=True)
class Change:
    """A shortened text: where it is, tokens before and after, and the id of its original."""

    path: Path
    before: int
    after: int
    original: str


@dataclass(frozen=True)
class Report:
    """The account of one request. Token counts are `counter`'s; reads and writes are predictions.

    original_tokens, tokens: the request as it came, and as it goes out; 0 where nothing was
        counted (disabled, or let through because of an error).
    cache_reads, cache_writes: tokens of the longest prefix shared with the previous request of this
        conversation, and the rest; a provider with a prefix cache bills them so at best.
    original_reads, original_writes: the same for the request as it came.
    cache_breaks: 1 if this request changed what had been sent before (a compaction), else 0.
    compactions: how many compactions this conversation has had so far.
    changes: the texts that differ from the original now.
    money, original_money: what the two cost, if prices were given.
    shadow: True if the result was only reported, not used.
    error: why the request was left alone, if it was, else None.
    """

    counter: str
    budget: int
    original_tokens: int
    tokens: int
    cache_reads: int = 0
    cache_writes: int = 0
    original_reads: int = 0
    original_writes: int = 0
    cache_breaks: int = 0
    compactions: int = 0
    changes: tuple[Change, ...] = ()
    money: float | None = None
    original_money: float | None = None
    shadow: bool = False
    error: str | None = None

    @property
    def compression(self) -> float:
        """Original tokens / tokens: 2.0 means half."""
        return compression(self.original_tokens, self.tokens) if self.tokens else 1.0

    @property
    def tokens_saved(self) -> int:
        """Original tokens - tokens; never a claim about money, which caches decide."""
        return self.original_tokens - self.tokens
