"""LangChain 1.x: agent middleware, tool results, a summarizer, and a document compressor.

Needs `langchain` for the middleware and `langchain-core` for the rest: pip install langchain
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.messages import BaseMessage, SystemMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.types import Command
from pydantic import ConfigDict

from attar.context.counting import counter
from attar.context.middleware.compaction import BudgetError, TextCompressor
from attar.context.middleware.compactor import Compactor, Result
from attar.context.middleware.originals import Originals
from attar.context.middleware.report import Report
from attar.context.middleware.view import is_error_text, is_structured
from attar.context.text.select import Select

_LOG = logging.getLogger("attar.context")

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
ToolResult = ToolMessage | Command[Any]


def as_mapping(message: BaseMessage) -> dict[str, Any]:
    """Read a LangChain message as the mapping that the middleware understands."""
    out: dict[str, Any] = {"role": message.type, "content": message.content}
    for name in ("name", "tool_calls", "invalid_tool_calls", "tool_call_id", "status"):
        value = getattr(message, name, None)
        if value:
            out[name] = value
    extra = {k: v for k, v in message.additional_kwargs.items() if k != "tool_calls"}
    return out | ({"additional_kwargs": extra} if extra else {})


def compress_messages(
    compactor: Compactor,
    messages: Sequence[BaseMessage],
    tools: Sequence[Any] | None = None,
    system: SystemMessage | None = None,
) -> tuple[list[BaseMessage], Result]:
    """Compress LangChain messages; those that do not change are the same objects.

    Raises
    ------
    BudgetError
        If what is protected exceeds the budget.
    """
    schemas = [t if isinstance(t, dict) else convert_to_openai_tool(t) for t in tools or []]
    content = as_mapping(system)["content"] if system is not None else None
    read = [as_mapping(m) for m in messages]
    result = compactor.compress(read, tools=schemas, system=content)
    out = [
        old if new is given else old.model_copy(update={"content": new["content"]})
        for old, given, new in zip(messages, read, result.messages, strict=True)
    ]
    return out, result


class ContextMiddleware(AgentMiddleware[Any, Any, Any]):
    """Keeps the requests of an agent within a budget; the agent's state keeps the originals.

    wrap_model_call compresses a copy of the messages (the rules are those of
    `attar.context.compress`). wrap_tool_call cuts the text of a tool's result to `tool_tokens` when
    it first appears, if that is set; the original goes to `originals`, its id into the text. Above
    the budget, or on an error, the request goes out as it is, logged and counted in
    `compactor.failures` or `over_budget`. `last_report` is the report of the latest request.
    """

    def __init__(
        self,
        budget: int,
        *,
        tool_tokens: int | None = None,
        originals: Originals | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if tool_tokens is not None and tool_tokens < 1:
            raise ValueError(f"tool_tokens is None or tokens >= 1, got {tool_tokens}.")
        # Agents resume in other processes: what they sent there is replayed.
        self.compactor = Compactor(budget, **{"replay": True} | options)
        self.tool_tokens = tool_tokens
        self.originals = originals or Originals()
        self.over_budget = 0
        self.last_report: Report | None = None

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        """Compress, then call the model."""
        return handler(self._compressed(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """Compress in a thread, then call the model."""
        return await handler(await asyncio.to_thread(self._compressed, request))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]
    ) -> ToolResult:
        """Call the tool, then shorten the text of its result."""
        return self._shortened(request, handler(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Call the tool, then shorten the text of its result in a thread."""
        return await asyncio.to_thread(self._shortened, request, await handler(request))

    def _compressed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        try:
            messages, result = compress_messages(
                self.compactor, request.messages, request.tools, request.system_message
            )
        except BudgetError as error:
            self.over_budget += 1
            _LOG.warning("let a request through uncompressed: %s", error)
            return request
        except Exception as error:
            self.compactor.failures += 1
            _LOG.warning("let a request through uncompressed: %s", type(error).__name__)
            return request
        self.last_report = result.report
        changed = any(a is not b for a, b in zip(messages, request.messages, strict=True))
        return request.override(messages=messages) if changed else request  # type: ignore[arg-type]

    def _shortened(self, request: ToolCallRequest, result: ToolResult) -> ToolResult:
        if self.tool_tokens is None or not isinstance(result, ToolMessage):
            return result
        if not self.compactor.enabled or self.compactor.shadow or result.status == "error":
            return result
        text = result.content
        if not isinstance(text, str) or is_error_text(text) or is_structured(text):
            return result
        try:
            short = self._short(text, _query(request))
        except Exception as error:
            self.compactor.failures += 1
            _LOG.warning("let a tool result through uncompressed: %s", type(error).__name__)
            return result
        return result if short is None else result.model_copy(update={"content": short})

    def _short(self, text: str, query: str) -> str | None:
        count, limit = self.compactor.count, self.tool_tokens or 0
        if count.text(text) <= limit:
            return None
        (id,) = self.originals.put([text])
        label = f" [original {id}]"
        room = max(1, limit - count.text(label))
        short = self.compactor.rules.compressor(text, room, query, count) + label
        return short if count.text(short) < count.text(text) else None


def _query(request: ToolCallRequest) -> str:
    """What the result is wanted for: the newest user text and the arguments of the call."""
    state = request.state
    messages = state.get("messages", []) if isinstance(state, dict) else []
    users = [str(m.text) for m in messages if getattr(m, "type", "") == "human"]
    arguments = " ".join(str(v) for v in request.tool_call.get("args", {}).values())
    return f"{users[-1] if users else ''} {arguments}"


def summarizer(
    tokens: int, count: Any = None, compressor: TextCompressor | None = None
) -> Callable[[Sequence[BaseMessage]], str]:
    """Return a function for `SummarizationMiddleware(summarizer=…)`: messages -> at most `tokens`.

    It selects instead of rewriting: no model is called and nothing is made up.
    """
    if tokens < 1:
        raise ValueError(f"tokens is >= 1, got {tokens}.")
    counted, shorten = counter(count), compressor or Select()

    def summarize(messages: Sequence[BaseMessage]) -> str:
        lines = [f"{m.type}: {m.text}" for m in messages if str(m.text).strip()]
        query = next((str(m.text) for m in reversed(messages) if m.type == "human"), "")
        return shorten("\n".join(lines), tokens, query, counted)

    return summarize


class DocumentCompressor(BaseDocumentCompressor):
    """Cuts retrieved documents to `budget` tokens together; order and metadata stay.

    Every document gets a share under one level: short ones stay whole, long ones are cut to what
    the query needs. Documents of which nothing is left are dropped.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    budget: int
    count: Any = None
    compressor: Any = None

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the documents, shortened; the input is not modified."""
        from attar.context.text.passages import shorten_together

        del callbacks
        texts = [d.page_content for d in documents]
        short = shorten_together(
            texts, self.budget, query, counter(self.count), self.compressor or Select()
        )
        return [
            d if d.page_content == text else d.model_copy(update={"page_content": text})
            for d, text in zip(documents, short, strict=True)
            if text
        ]
