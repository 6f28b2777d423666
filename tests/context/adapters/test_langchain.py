"""LangChain 1.x: real agents on a scripted chat model."""

import asyncio
import json

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from attar.context import Compactor, estimate_tokens
from attar.context.adapters.langchain import (
    ContextMiddleware,
    DocumentCompressor,
    as_mapping,
    compress_messages,
    summarizer,
)
from tests.context.conversations import chat, prose, requests_of

LOG = (
    "Nothing happened on this line of the log. " * 200
    + "The fault code is QX-4471. "
    + "ok. " * 300
)


class Recorder(GenericFakeChatModel):
    """A scripted chat model that remembers what it was asked."""

    asked: list = []  # noqa: RUF012 - pydantic copies it per object

    def _generate(self, messages, *args, **kwargs):
        self.asked.append(list(messages))
        return super()._generate(messages, *args, **kwargs)

    def bind_tools(self, tools, **kwargs):
        return self


@tool
def read_log(name: str) -> str:
    """Read a log."""
    return LOG if name == "long" else '{"rows": [' + '"x", ' * 900 + "1]}"


def call(name, id):
    return AIMessage("", tool_calls=[{"name": "read_log", "args": {"name": name}, "id": id}])


def from_chat(messages):
    out = []
    for m in messages:
        if m["role"] == "system":
            out.append(SystemMessage(m["content"]))
        elif m["role"] == "user":
            out.append(HumanMessage(m["content"]))
        elif m["role"] == "tool":
            out.append(ToolMessage(m["content"], tool_call_id=m["tool_call_id"]))
        else:
            calls = [
                dict(c["function"], id=c["id"], args=json.loads(c["function"]["arguments"]))
                for c in m.get("tool_calls") or []
            ]
            calls = [{k: c[k] for k in ("name", "args", "id")} for c in calls]
            out.append(AIMessage(m["content"] or "", tool_calls=calls))
    return out


def run(agent, mode, messages):
    given = {"messages": messages}
    return asyncio.run(agent.ainvoke(given)) if mode == "async" else agent.invoke(given)


modes = pytest.mark.parametrize("mode", ["sync", "async"])


def test_messages_follow_the_rules_of_the_library():
    compactor, library = Compactor(4000), Compactor(4000, replay=True)
    breaks = 0
    for request in requests_of(chat(3, 14)):
        messages = from_chat(request)
        out, result = compress_messages(compactor, messages)
        assert result.messages == library.compress([as_mapping(m) for m in messages]).messages
        breaks += result.report.cache_breaks
        for old, new, text in zip(messages, out, result.messages, strict=True):
            assert new.content == text["content"]
            assert new.model_copy(update={"content": ""}) == old.model_copy(update={"content": ""})
    assert breaks and any(a is not b for a, b in zip(messages, out, strict=True))


@modes
def test_an_agent_sends_less_and_its_state_keeps_the_originals(mode):
    old = [HumanMessage("old question. " * 400), AIMessage("old answer. " * 400)]
    model = Recorder(messages=iter([AIMessage("done")]))
    middleware = ContextMiddleware(1500)
    agent = create_agent(model, [read_log], middleware=[middleware], system_prompt="Be short.")
    state = run(agent, mode, [*old, HumanMessage("what now?")])
    (sent,) = model.asked
    assert [m.type for m in sent] == ["system", "human", "ai", "human"]
    assert sent[0].content == "Be short." and sent[-1].content == "what now?"
    assert sum(estimate_tokens(m.content) for m in sent) < 750
    assert [m.content for m in state["messages"]] == [
        old[0].content, old[1].content, "what now?", "done",
    ]  # fmt: skip
    assert middleware.last_report.cache_breaks == 1
    assert middleware.last_report.tokens < 750 < middleware.last_report.original_tokens


@modes
def test_a_tools_text_is_shortened_on_entry_and_json_is_not(mode):
    script = [call("long", "a"), call("json", "b"), AIMessage("QX-4471")]
    model = Recorder(messages=iter(script))
    middleware = ContextMiddleware(20_000, tool_tokens=80)
    agent = create_agent(model, [read_log], middleware=[middleware])
    state = run(agent, mode, [HumanMessage("Which fault code is in the log?")])
    tools = [m for m in state["messages"] if m.type == "tool"]
    assert "QX-4471" in tools[0].content and estimate_tokens(tools[0].content) <= 80
    assert tools[0].tool_call_id == "a" and tools[1].tool_call_id == "b"
    assert tools[1].content == read_log.func("json")
    id = tools[0].content.rsplit(" ", 1)[1].rstrip("]")
    assert middleware.originals.get(id) == LOG
    first, second = ([m.content for m in asked] for asked in model.asked[1:])
    assert second[: len(first)] == first


@modes
def test_tool_errors_are_left_alone(mode):
    @tool
    def broken(name: str) -> str:
        """Fail."""
        return "Error: " + "it failed. " * 300

    message = AIMessage("", tool_calls=[{"name": "broken", "args": {"name": "x"}, "id": "a"}])
    model = Recorder(messages=iter([message, AIMessage("sorry")]))
    agent = create_agent(model, [broken], middleware=[ContextMiddleware(9000, tool_tokens=50)])
    state = run(agent, mode, [HumanMessage("go")])
    assert state["messages"][2].content == "Error: " + "it failed. " * 300


@modes
def test_above_the_budget_and_on_errors_the_request_goes_out(mode, caplog):
    def wrong(text, budget, query, count):
        raise RuntimeError("private words")

    for options, counted in (({}, "over_budget"), ({"compressor": wrong}, "failures")):
        middleware = ContextMiddleware(300 if not options else 1500, tool_tokens=50, **options)
        model = Recorder(messages=iter([call("long", "a"), AIMessage("done")]))
        agent = create_agent(model, [read_log], middleware=[middleware])
        text = "why? " * (2000 if not options else 1)
        old = [HumanMessage("x. " * 3000), AIMessage("y")]
        state = run(agent, mode, [*old, HumanMessage(text)])
        assert state["messages"][-1].content == "done"
        assert model.asked[0][-1].content == text and model.asked[0][0].content == "x. " * 3000
        assert middleware.over_budget if counted == "over_budget" else middleware.compactor.failures
    assert "private words" not in caplog.text


def test_shadow_and_disabled_send_everything():
    for options in ({"shadow": True}, {"enabled": False}):
        model = Recorder(messages=iter([call("long", "a"), AIMessage("done")]))
        middleware = ContextMiddleware(1500, tool_tokens=50, **options)
        agent = create_agent(model, [read_log], middleware=[middleware])
        agent.invoke({"messages": [HumanMessage("x. " * 900), AIMessage("y"), HumanMessage("z")]})
        assert model.asked[1][0].content == "x. " * 900 and model.asked[1][-1].content == LOG


def test_a_summarizer_drops_into_summarization():
    import random

    rng = random.Random(0)
    model = Recorder(messages=iter([AIMessage("fine")]))
    middleware = SummarizationMiddleware(
        model, trigger=("messages", 6), keep=("messages", 2), summarizer=summarizer(120)
    )
    agent = create_agent(model, [], middleware=[middleware])
    history = [HumanMessage("The fault code is QX-4471."), AIMessage(prose(rng, 60))]
    history += [x for _ in range(3) for x in (HumanMessage(prose(rng, 3)), AIMessage("ok"))]
    state = agent.invoke({"messages": [*history, HumanMessage("Which fault code?")]})
    (sent,) = model.asked
    assert len(sent) < len(history) and state["messages"][-1].content == "fine"
    assert sum(estimate_tokens(str(m.content)) for m in sent) < 400
    with pytest.raises(ValueError, match="tokens is >= 1"):
        summarizer(0)


@modes
def test_documents_share_a_budget(mode):
    documents = [
        Document("Short and sweet.", metadata={"n": 0}, id="a"),
        Document("The weather was mild. " * 200 + "The code is QX-4471.", metadata={"n": 1}),
        Document("Filler sentence here. " * 200, metadata={"n": 2}),
    ]
    before = [d.model_copy(deep=True) for d in documents]
    compressor = DocumentCompressor(budget=120)
    if mode == "async":
        out = asyncio.run(compressor.acompress_documents(documents, "What is the code?"))
    else:
        out = compressor.compress_documents(documents, "What is the code?")
    assert [d.metadata["n"] for d in out] == [0, 1, 2] and out[0] is documents[0]
    assert "QX-4471" in out[1].page_content and documents == before
    assert sum(estimate_tokens(d.page_content) for d in out) <= 120
    assert compressor.compress_documents([], "q") == []
    with pytest.raises(ValueError, match="budget"):
        DocumentCompressor(budget=0).compress_documents(documents, "q")


def test_limits_are_validated():
    with pytest.raises(ValueError, match="tool_tokens"):
        ContextMiddleware(100, tool_tokens=0)
    with pytest.raises(ValueError, match="budget"):
        ContextMiddleware(0)
