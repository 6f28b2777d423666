"""The middleware: `compress(messages, budget=…)` and `Compactor`, the same with its own memory.

A conversation grows by appending. Its *state* after a request says which texts are shortened, and
to what. The next request starts from the state of the longest earlier request that it extends:
below the budget the state stays, above it there is one compaction. States are remembered by a hash
of the messages, in this process.

What was sent by another process is not remembered. Then a conversation is taken as it comes, and
compacted once if it is too long. With `replay=True` its history is gone through instead, request by
request (the prefixes that end before an assistant message): the result depends on the messages
alone, so that a restarted server, or another one, sends the same bytes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attar.context.counting import Counter, counter
from attar.context.middleware.compaction import (
    BudgetError,
    Rules,
    TextCompressor,
    compact,
    query_of,
)
from attar.context.middleware.memory import Memory, State, prefix_keys
from attar.context.middleware.originals import original_id
from attar.context.middleware.report import Change, Prices, Report
from attar.context.middleware.request import Request
from attar.context.middleware.view import (
    Kind,
    MessageError,
    Path,
    Replacements,
    replaced,
)
from attar.context.text.select import Select

_LOG = logging.getLogger("attar.context")
_SHARED = Memory()


@dataclass(frozen=True)
class Result:
    """The messages to send, the account of them, and the originals of what was shortened by id."""

    messages: list[Any]
    report: Report
    originals: Mapping[str, str] = field(default_factory=dict, repr=False)


class Compactor:
    """Keeps conversations within a budget. See `compress` for the parameters.

    replay: go through the history of conversations that are not remembered (see the module).
    memory: where states are kept; one of its own by default.
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
        replay: bool = False,
        memory: Memory | None = None,
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
        self.replay = replay
        self.memory = memory if memory is not None else Memory()

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
        before, state = self._advance(request, scope)
        report = self._report(request, before, state)
        if self.shadow:
            return Result(list(messages), replace(report, shadow=True))
        originals = {original_id(request.text(p)): request.text(p) for p in state.replacements}
        return Result(replaced(messages, state.replacements), report, originals)

    def _advance(self, request: Request, scope: str) -> tuple[State, State]:
        """Return the states after the previous request of this conversation and after this one."""
        points = request.points()
        keys = prefix_keys(
            request.messages, self.rules.fingerprint() + self.count.name.encode(), scope
        )
        known, state = self.memory.longest(keys[:-1])
        if not known and not self.replay:
            # Somebody has sent this conversation up to its last answer, as far as one can know.
            state = State(sent=points[-2] if len(points) > 1 else 0, unseen=True)
        todo = [n for n in points if n > known] if self.replay else points[-1:]
        before, broke = state, False
        for n in todo:
            last = n == points[-1]
            before = state if last or not known else before
            try:
                state = self._step(request.prefix(n), state)
            except BudgetError:
                if last:
                    raise
                state = replace(state, sent=n, broke=False)
            broke = state.broke or (broke and bool(known))
            self.memory.put(keys[n], state, scope)
        return before, replace(state, broke=broke)

    def _step(self, request: Request, state: State) -> State:
        """Advance by one request: shorten new tool results on entry, compact if above budget."""
        new, sent = self._entered(request, state), len(request.messages)
        replacements, entered = state.replacements | new, state.entered | new
        compactions = state.compactions
        if request.total(replacements) > self.rules.budget:
            replacements = compact(
                request.messages, self.rules, self.count, request.total, entered, state.replacements
            )
            compactions += 1
        broke = any(
            replacements.get(path) != state.replacements.get(path)
            for path in replacements.keys() | state.replacements.keys()
            if int(path[0]) < state.sent
        )
        return State(replacements, entered, compactions, sent, broke)

    def _entered(self, request: Request, state: State) -> Replacements:
        limit = self.rules.tool_results
        if limit is None:
            return {}
        query = query_of(request.messages)
        found: Replacements = {}
        for piece in request.pieces(start=0 if state.unseen else state.sent):
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
        `image_tokens`, `prices`, `enabled`, `shadow`, `label`, `replay`, `memory`; see `Rules` and
        `Compactor`.

    Below the budget nothing that was sent before changes. Crossing it triggers one compaction down
    to half of it, `report.cache_breaks == 1`; until the next one, what was sent stays as it is,
    byte for byte. System text, tool schemas, calls, ids, order, pairing and the newest user turn
    are never touched, nor are tool results that are JSON or errors, unless asked.
    What this process has sent before is remembered, up to a few thousand requests, by a hash of
    the messages; pass `memory=Memory()` to keep conversations of different users apart, or use a
    `Compactor` and its `scope`. `shadow=True` only reports. `enabled=False` does nothing.

    Raises
    ------
    BudgetError
        If what is protected exceeds the budget.
    MessageError
        If the messages are malformed.
    """
    made = Compactor(budget, **{"memory": _SHARED} | options)
    return made.compress(messages, tools=tools, system=system)
