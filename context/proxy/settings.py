"""What a proxy is told once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attar.context.middleware.compaction import TextCompressor
from attar.context.middleware.compactor import Compactor
from attar.context.middleware.memory import Memory
from attar.context.middleware.report import Prices


@dataclass(frozen=True)
class ProxySettings:
    """Where requests go and what they may cost.

    upstream: http(s)://host[:port][/prefix]; the path of a request is appended to the prefix.
    budget … label: see `attar.context.compress`. enabled=False passes everything through, byte for
    byte; shadow=True passes everything through and reports what would have been done.
    originals: a SQLite file for the originals (mode 0600), None for memory; ttl: seconds that they,
    and what is remembered of a conversation, are kept after its last request. Histories are
    replayed (`Compactor`), so that a restart changes nothing.
    connect, stall: seconds until a connection attempt, or silence of the upstream, is given up.
    max_body: bytes up to which a request is read for compression; larger ones pass through.
    """

    upstream: str
    budget: int
    count: Any = None
    compressor: TextCompressor | None = None
    recent: float = 0.5
    tool_results: int | None = None
    compress_json: bool = False
    compress_errors: bool = False
    image_tokens: int = 1600
    prices: Prices | None = None
    enabled: bool = True
    shadow: bool = False
    label: bool = False
    originals: Path | str | None = None
    ttl: float = 86400.0
    connect: float = 10.0
    stall: float = 600.0
    max_body: int = 64 << 20

    def __post_init__(self) -> None:
        parts = urlsplit(self.upstream)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError(f"upstream is http(s)://host[:port][/prefix], got {self.upstream!r}.")
        if self.ttl <= 0:
            raise ValueError(f"ttl is a number of seconds above 0, got {self.ttl}.")
        if min(self.connect, self.stall) <= 0 or self.max_body < 1:
            raise ValueError(
                f"connect, stall and max_body are above 0, got {self.connect}, {self.stall}, "
                f"{self.max_body}."
            )

    def compactor(self) -> Compactor:
        """Make the middleware that these settings describe."""
        return Compactor(
            self.budget, count=self.count, compressor=self.compressor, recent=self.recent,
            tool_results=self.tool_results, compress_json=self.compress_json,
            compress_errors=self.compress_errors, image_tokens=self.image_tokens,
            prices=self.prices, enabled=self.enabled, shadow=self.shadow, label=self.label,
            replay=True, memory=Memory(ttl=self.ttl),
        )  # fmt: skip
