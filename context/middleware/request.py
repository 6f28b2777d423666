"""A whole request as the budget sees it: messages, schemas, system text, template."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
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
    """Messages as they came (`raw`) and as read, with what surrounds them.

    sizes: tokens of the first 0, 1, … messages, counted part by part. around: tokens of the system
    text beside the messages. schemas: tokens of the tools.
    """

    raw: Sequence[Any]
    messages: tuple[Message, ...]
    tools: Sequence[Any] | None
    around: int
    schemas: int
    sizes: tuple[int, ...]
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
        schemas = count.text(dump(list(tools))) if tools else 0
        messages = read(raw)
        each = (_size(m, count, image_tokens) for m in messages)
        sizes = tuple(accumulate(each, initial=0))
        return Request(raw, messages, tools, around, schemas, sizes, count, image_tokens)

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
        n = len(self.messages)
        change = sum(
            self.count.text(new) - self.count.text(self.text(path))
            for path, new in replacements.items()
            if int(path[0]) < n
        )
        return _PER_REQUEST + self.around + self.schemas + self.sizes[n] + change

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


def _size(message: Message, count: Counter, image_tokens: int) -> int:
    return _PER_MESSAGE + sum(
        image_tokens if p.kind is Kind.IMAGE else count.text(p.text) for p in message.pieces
    )
