"""The middleware: `compress(messages, budget=…)`, pure; `Compactor`, the same with a memory.

A conversation grows by appending. The state after a request (which texts are shortened, and to
what) is defined by *replay*: go through the requests that this conversation has made, that is the
prefixes that end before an assistant message; below the budget keep the state, above it compact
once. So the result depends on the messages alone: a restarted process, or another machine, sends
the same bytes, and provider prompt caches keep working. A `Compactor` remembers states by a hash
of the prefix and only replays what is new.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from attar.context.counting import Counter, counter
from attar.context.middleware.compaction import (
    BudgetError,
    Rules,
    TextCompressor,
    compact,
    query_of,
)
from attar.context.middleware.originals import original_id
from attar.context.middleware.report import Change, Prices, Report
from attar.context.middleware.request import Request
from attar.context.middleware.view import (
    Kind,
    Message,
    MessageError,
    Path,
    Replacements,
    replaced,
)
from attar.context.text.select import Select

_LOG = logging.getLogger("attar.context")
_STATES = 4096


@dataclass(frozen=True)
class Result:
    """The messages to send, the account of them, and the originals of what was shortened by id."""

    messages: list[Any]
    report: Report
    originals: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class State:
    """What a conversation looks like after a request.

    replacements: the texts that differ from the original. entered: those of them that were
    shortened when they first appeared. sent: messages in the request. broke: whether it changed
    what an earlier one had sent.
    """

    replacements: Replacements = field(default_factory=dict)
    entered: Replacements = field(default_factory=dict)
    compactions: int = 0
    sent: int = 0
    broke: bool = False


class Compactor:
    """Keeps conversations within a budget. See `compress` for the parameters.

    One object serves many conversations and threads. `failures` counts the requests that were let
    through as they came because of an error of its own.
    """

    def __init__(
        self,
        budget: int,
        *,
        count: Any = None,
        compressor: TextCompressor | None = None,
        recent: float = 0.5,
        tool_results: int | None = None,
        compress_json: bool = False,
        compress_errors: bool = False,
        image_tokens: int = 1600,
        prices: Prices | None = None,
        enabled: bool = True,
        shadow: bool = False,
        label: bool = False,
    ) -> None:
        self.rules = Rules(
            budget, compressor or Select(), recent, tool_results,
            compress_json, compress_errors, image_tokens, label,
        )  # fmt: skip
        self.count: Counter = counter(count)
        self.prices = prices
        self.enabled = enabled
        self.shadow = shadow
        self.failures = 0
        self._states: OrderedDict[bytes, State] = OrderedDict()
        self._lock = threading.Lock()

    def compress(
        self,
        messages: Sequence[Any],
        *,
        tools: Sequence[Any] | None = None,
        system: Any = None,
        scope: str = "",
    ) -> Result:
        """Return the conversation as it should be sent; the input is not modified.

        scope: whose conversation it is; nothing remembered under one scope serves another.

        Raises
        ------
        BudgetError
            If what is protected exceeds the budget.
        MessageError
            If the messages are malformed.
        """
        if not self.enabled:
            return self._untouched(messages, None)
        try:
            return self._compress(messages, tools, system, scope)
        except BudgetError as error:
            if not self.shadow:
                raise
            return self._untouched(messages, str(error))
        except MessageError:
            raise
        except Exception as error:
            self.failures += 1
            _LOG.warning("let a request through uncompressed: %s", type(error).__name__)
            return self._untouched(messages, f"{type(error).__name__}: {error}")

    def _untouched(self, messages: Sequence[Any], reason: str | None) -> Result:
        report = Report(self.count.name, self.rules.budget, 0, 0, shadow=self.shadow, error=reason)
        return Result(list(messages), report)

    def _compress(
        self, messages: Sequence[Any], tools: Sequence[Any] | None, system: Any, scope: str
    ) -> Result:
        request = Request.of(messages, tools, system, self.count, self.rules.image_tokens)
        before, state = self._replay(request, scope)
        report = self._report(request, before, state)
        if self.shadow:
            return Result(list(messages), replace(report, shadow=True))
        originals = {original_id(request.text(p)): request.text(p) for p in state.replacements}
        return Result(replaced(messages, state.replacements), report, originals)

    def _replay(self, request: Request, scope: str) -> tuple[State, State]:
        """Return the states after the previous request of this conversation and after this one."""
        points = request.points()
        keys = self._keys(request.messages, points, scope)
        start, state = self._remembered(keys[:-1])
        before = state
        for n, key in zip(points[start:], keys[start:], strict=True):
            before = state
            last = n == points[-1]
            try:
                state = self._step(request.prefix(n), state)
            except BudgetError:
                if last:
                    raise
                state = replace(state, sent=n, broke=False)
            self._remember(key, state)
        return before, state

    def _step(self, request: Request, state: State) -> State:
        """Advance by one request: shorten new tool results on entry, compact if above budget."""
        new, sent = self._entered(request, state), len(request.messages)
        replacements, entered = state.replacements | new, state.entered | new
        if request.total(replacements) <= self.rules.budget:
            return State(replacements, entered, state.compactions, sent)
        compacted = compact(request.messages, self.rules, self.count, request.total, entered)
        broke = any(
            compacted.get(path) != replacements.get(path)
            for path in compacted.keys() | replacements.keys()
            if int(path[0]) < state.sent
        )
        return State(compacted, entered, state.compactions + 1, sent, broke)

    def _entered(self, request: Request, state: State) -> Replacements:
        limit = self.rules.tool_results
        if limit is None:
            return {}
        query = query_of(request.messages)
        found: Replacements = {}
        for piece in request.pieces(start=state.sent):
            tool = piece.kind in (Kind.TOOL, Kind.JSON, Kind.ERROR)
            if tool and self.rules.touchable(piece.kind) and self.count.text(piece.text) > limit:
                text = self.rules.compressor(piece.text, limit, query, self.count)
                if 0 < self.count.text(text) < self.count.text(piece.text):
                    found[piece.path] = text
        return found

    def _report(self, request: Request, before: State, state: State) -> Report:
        tokens, original = request.total(state.replacements), request.total({})
        shared = _first_difference(before, state)
        reads = request.prefix(shared).total(state.replacements) if shared else 0
        original_reads = request.prefix(before.sent).total({}) if before.sent else 0
        reads, original_reads = min(reads, tokens), min(original_reads, original)
        prices = self.prices
        count = self.count.text
        return Report(
            counter=self.count.name,
            budget=self.rules.budget,
            original_tokens=original,
            tokens=tokens,
            cache_reads=reads,
            cache_writes=tokens - reads,
            original_reads=original_reads,
            original_writes=original - original_reads,
            cache_breaks=int(state.broke),
            compactions=state.compactions,
            changes=tuple(
                Change(
                    path, count(request.text(path)), count(text), original_id(request.text(path))
                )
                for path, text in sorted(state.replacements.items(), key=lambda x: str(x[0]))
            ),
            money=prices.cost(reads, tokens - reads) if prices else None,
            original_money=(
                prices.cost(original_reads, original - original_reads) if prices else None
            ),
        )

    def _keys(self, messages: tuple[Message, ...], points: list[int], scope: str) -> list[bytes]:
        digest = blake2b(self.rules.fingerprint() + scope.encode(), digest_size=16)
        keys, done = [], 0
        for n in points:
            for message in messages[done:n]:
                for p in message.pieces:
                    head = f"{message.role} {p.kind.value} {p.path} {len(p.text)} "
                    digest.update((head + p.text).encode("utf-8", "surrogatepass"))
                digest.update(f"{message.role}\n".encode())
            done = n
            keys.append(digest.copy().digest())
        return keys

    def _remembered(self, keys: list[bytes]) -> tuple[int, State]:
        with self._lock:
            for i in range(len(keys) - 1, -1, -1):
                found = self._states.get(keys[i])
                if found is not None:
                    self._states.move_to_end(keys[i])
                    return i + 1, found
        return 0, State()

    def _remember(self, key: bytes, state: State) -> None:
        with self._lock:
            self._states[key] = state
            while len(self._states) > _STATES:
                self._states.popitem(last=False)


def _first_difference(before: State, state: State) -> int:
    """Return how many leading messages are the same in both requests."""
    paths: set[Path] = set(before.replacements) | set(state.replacements)
    changed = [int(p[0]) for p in paths if before.replacements.get(p) != state.replacements.get(p)]
    return min([before.sent, *changed])


def compress(
    messages: Sequence[Any],
    budget: int,
    *,
    tools: Sequence[Any] | None = None,
    system: Any = None,
    **options: Any,
) -> Result:
    """Bring a conversation within `budget` tokens, touching only what is safe.

    messages: Chat Completions, Anthropic or Responses format, oldest first; not modified.
    budget: tokens of the whole request: messages, template, `tools` (schemas) and `system`.
    options: `count` (a callable, a Hugging Face tokenizer, a tiktoken encoding; default: a safe
        estimate), `compressor`, `recent`, `tool_results`, `compress_json`, `compress_errors`,
        `image_tokens`, `prices`, `enabled`, `shadow`, `label`; see `Rules` and `Compactor`.

    Below the budget nothing that was sent before changes. Crossing it triggers one compaction down
    to half of it, `report.cache_breaks == 1`; until the next one, what was sent stays as it is,
    byte for byte. System text, tool schemas, calls, ids, order, pairing and the newest user turn
    are never touched, nor are tool results that are JSON or errors, unless asked.
    The result depends on the messages alone (replay): no state is kept between calls.

    Raises
    ------
    BudgetError
        If what is protected exceeds the budget.
    MessageError
        If the messages are malformed.
    """
    return Compactor(budget, **options).compress(messages, tools=tools, system=system)
