"""A whole request as the budget sees it: messages, schemas, system text, template."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attar.context.counting import Counter
from attar.context.middleware.view import (
    Kind,
    Message,
    Path,
    Piece,
    Replacements,
    dump,
    read,
    replaced,
)

_PER_MESSAGE = 5
_PER_REQUEST = 8


@dataclass(frozen=True)
class Request:
    """Messages as they came (`raw`) and as read, with what surrounds them."""

    raw: Sequence[Any]
    messages: tuple[Message, ...]
    tools: Sequence[Any] | None
    around: int
    count: Counter
    image_tokens: int

    @staticmethod
    def of(
        raw: Sequence[Any],
        tools: Sequence[Any] | None,
        system: Any,
        count: Counter,
        image_tokens: int,
    ) -> "Request":
        """Read a request; `system` is text or blocks that travel beside the messages."""
        around = sum(count.text(x if isinstance(x, str) else dump(x)) for x in (system,) if x)
        return Request(raw, read(raw), tools, around, count, image_tokens)

    def prefix(self, n: int) -> "Request":
        """Return the request that ended after `n` messages."""
        return replace(self, raw=self.raw[:n], messages=self.messages[:n])

    def points(self) -> list[int]:
        """Return the lengths of the requests that this conversation has made, this one last."""
        roles = [m.role for m in self.messages]
        turns = [
            n
            for n in range(1, len(roles))
            if roles[n] == "assistant" and roles[n - 1] != "assistant"
        ]
        return [*turns, len(roles)]

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Yield the pieces of the messages from `start` on."""
        for message in self.messages[start:]:
            yield from message.pieces

    def text(self, path: Path) -> str:
        """Return the original text at a path."""
        found: Any = self.raw
        for step in path:
            found = found[step]
        return str(found)

    def total(self, replacements: Replacements) -> int:
        """Count the whole request under these replacements.

        By the tokenizer's own chat template where it has one and can render these messages;
        otherwise part by part, with five tokens per message, eight per request and the schemas
        as JSON.
        """
        template = self.count.template
        if template is not None:
            tokens = self._rendered(template, replacements)
            if tokens is not None:
                return tokens + self.around
        schemas = self.count.text(dump(list(self.tools))) if self.tools else 0
        return (
            _PER_REQUEST
            + self.around
            + schemas
            + sum(self._size(m, replacements) for m in self.messages)
        )

    def _size(self, message: Message, replacements: Replacements) -> int:
        return _PER_MESSAGE + sum(
            self.image_tokens
            if p.kind is Kind.IMAGE
            else self.count.text(replacements.get(p.path, p.text))
            for p in message.pieces
        )

    def _rendered(
        self, template: Callable[[Sequence[Any], Sequence[Any] | None], int], changes: Replacements
    ) -> int | None:
        inside = {p: t for p, t in changes.items() if int(p[0]) < len(self.messages)}
        try:
            images = sum(p.kind is Kind.IMAGE for p in self.pieces())
            tokens = template(replaced(self.raw, inside), self.tools)
        except Exception:
            # Templates refuse what they were not written for (a system message in the middle, two
            # user turns in a row) with errors of any type; the count by parts holds for all.
            return None
        return tokens + images * self.image_tokens
