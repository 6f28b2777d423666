"""The rules of a middleware that people leave switched on, over growing conversations."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.context import (
    BudgetError,
    Compactor,
    Memory,
    MessageError,
    Prices,
    Truncate,
    compress,
    counter,
    estimate_tokens,
)
from attar.context.middleware.view import is_error_text, is_structured
from tests.context.conversations import FORMATS, chat, requests_of

TOOLS = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]
BUDGET = 4000
formats = pytest.mark.parametrize("name", FORMATS)


def grow(name, seed=3, turns=18, budget=BUDGET, **options):
    """Every request of one growing conversation: (sent, result) pairs."""
    compactor = Compactor(budget, **options)
    for request in requests_of(FORMATS[name](seed, turns)):
        yield request, compactor.compress(request, tools=TOOLS)


def texts(message):
    """Every (place, text) of a message that may ever be shortened, by this test's own reading."""
    for field in ("content", "output"):
        value = message.get(field)
        if isinstance(value, str):
            yield (field,), value
        for i, block in enumerate(value if isinstance(value, list) else []):
            if "text" in block:
                yield (field, i), block["text"]
            for j, inner in enumerate(block.get("content") or []):
                yield (field, i, j), inner["text"]


def without_texts(message):
    bare = copy.deepcopy(message)
    for field in ("content", "output"):
        if isinstance(bare.get(field), str):
            bare[field] = "*"
        for block in bare.get(field) if isinstance(bare.get(field), list) else []:
            if "text" in block:
                block["text"] = "*"
            for inner in block.get("content") or []:
                inner["text"] = "*"
    return bare


@formats
def test_a_conversation_is_compacted_and_stays_within_budget(name):
    compactions = 0
    for request, result in grow(name):
        assert result.report.tokens <= BUDGET
        if result.report.cache_breaks:
            compactions += 1
            assert result.report.tokens <= BUDGET // 2 + 1 or protected_is_large(request)
    assert compactions >= 3


def protected_is_large(request):
    """Half the budget cannot be reached: what the rules protect is itself above it."""
    try:
        compress(request, BUDGET // 2, tools=TOOLS)
    except BudgetError:
        return True
    return False


@formats
def test_crossing_the_budget_goes_down_to_half(name):
    messages = FORMATS[name](5, 20)
    budget = 8000
    breaks = [r.report.tokens for _, r in grow(name, 5, 20, budget) if r.report.cache_breaks]
    assert breaks and all(budget * 0.35 < tokens <= budget // 2 for tokens in breaks), breaks
    assert compress(messages, 10**6).messages == messages


@formats
def test_below_the_budget_nothing_changes(name):
    messages = FORMATS[name](2, 10)
    needed = compress(messages, 10**6, tools=TOOLS).report.original_tokens
    for request in requests_of(messages):
        result = compress(request, needed, tools=TOOLS)
        assert json.dumps(result.messages) == json.dumps(request)
        assert result.report.compression == 1.0 and not result.report.changes


@formats
def test_between_compactions_prefixes_are_byte_identical(name):
    last, broke = [], 0
    for _, result in grow(name):
        now = [json.dumps(m) for m in result.messages]
        same = now[: len(last)] == last
        assert same == (not result.report.cache_breaks)
        broke += not same
        last = now
    assert broke >= 3


def test_a_compaction_keeps_the_prefix_that_earlier_ones_sent_while_it_is_small():
    """The provider's cache still holds it; once it takes too much, everything is divided anew."""
    kept = renewed = 0
    last, before = {}, None
    for _, result in grow("chat", seed=1, turns=60, budget=16_000):
        now = {c.path: result.messages[c.path[0]]["content"] for c in result.report.changes}
        if result.report.cache_breaks and last:
            same = all(now.get(path) == text for path, text in last.items())
            kept, renewed = kept + same, renewed + (not same)
            if same:
                first = next(
                    i for i, m in enumerate(result.messages) if i >= len(before) or m != before[i]
                )
                assert first > max(path[0] for path in last)
                assert result.report.cache_reads > 0.2 * result.report.tokens
        last, before = now, result.messages
    assert kept >= 1 and renewed >= 1, (kept, renewed)


@formats
def test_order_ids_calls_schemas_and_pairing_never_change(name):
    for request, result in grow(name):
        assert len(result.messages) == len(request)
        for sent, got in zip(request, result.messages, strict=True):
            assert json.dumps(without_texts(got)) == json.dumps(without_texts(sent))
            if sent.get("role") == "system":
                assert got is sent


@formats
def test_the_newest_user_turn_is_never_touched(name):
    shortened = 0
    for request, result in grow(name):
        turns = [i for i, m in enumerate(request) if m.get("role") == "user"]
        turns = [i for i in turns if "tool_result" not in json.dumps(request[i])]
        assert result.messages[turns[-1]] is request[turns[-1]]
        shortened += any(result.messages[i] is not request[i] for i in turns[:-1])
    assert shortened


def test_a_newest_turn_of_several_messages_is_whole():
    messages = chat(1, 12) + [{"role": "user", "content": f"part {i} " * 20} for i in range(3)]
    result = compress(messages, 3000)
    assert result.report.changes and result.messages[-3:] == messages[-3:]


def test_a_prefill_is_never_touched():
    messages = [
        {"role": "user", "content": "old words here. " * 300},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": "Once upon a time " * 100},
    ]
    result = compress(messages, 1500, recent=0.0)
    assert result.report.cache_breaks and result.messages[-1] is messages[-1]


@formats
def test_json_and_errors_stay_unless_asked(name):
    def kinds(**options):
        touched = {"json": 0, "error": 0}
        for request, result in grow(name, **options):
            for sent, got in zip(request, result.messages, strict=True):
                for (_, a), (_, b) in zip(texts(sent), texts(got), strict=True):
                    if a != b:
                        touched["json"] += a.startswith('{"rows"')
                        touched["error"] += a.startswith("TimeoutError")
        return touched

    assert kinds() == {"json": 0, "error": 0}
    assert kinds(compress_json=True)["json"] and not kinds(compress_json=True)["error"]
    assert kinds(compress_errors=True)["error"] and not kinds(compress_errors=True)["json"]


@formats
def test_tool_results_are_shortened_once_on_entry(name):
    first = {}
    for request, result in grow(name, budget=10**6, tool_results=60):
        assert not result.report.cache_breaks
        for i, (sent, got) in enumerate(zip(request, result.messages, strict=True)):
            for (place, a), (_, b) in zip(texts(sent), texts(got), strict=True):
                assert first.setdefault((i, place), b) == b
                if a != b:
                    assert estimate_tokens(b) <= 60 < estimate_tokens(a)
    originals = {c.original for c in result.report.changes}
    assert len(originals) > 3 and originals == set(result.originals)


def test_what_was_shortened_on_entry_never_grows_back():
    messages = [
        {"role": "user", "content": "old words here. " * 300},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "look"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]},
        {"role": "tool", "tool_call_id": "a", "content": "a long line of a log file. " * 300},
        {"role": "assistant", "content": "it says things. " * 150},
        {"role": "user", "content": "and now?"},
    ]
    result = compress(messages, 1700, tool_results=60, recent=0.0)
    assert result.report.compactions == 1
    assert estimate_tokens(result.messages[4]["content"]) <= 60


@formats
def test_replay_gives_what_memory_gives(name):
    compactions = 0
    for request, kept in grow(name, turns=10):
        fresh = Compactor(BUDGET, replay=True).compress(request, tools=TOOLS)
        assert kept.messages == fresh.messages and kept.report == fresh.report
        compactions = fresh.report.compactions
    assert compactions


@formats
@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_plain_function_remembers_what_it_sent(name, every):
    """Whatever requests a caller makes, a prefix changes exactly when a break is reported."""
    last, breaks = [], 0
    for request in list(requests_of(FORMATS[name](40 + every, 14)))[::every]:
        result = compress(request, BUDGET)
        now = [json.dumps(m) for m in result.messages]
        assert (now[: len(last)] == last) == (not result.report.cache_breaks)
        breaks += result.report.cache_breaks
        last = now
    assert breaks


@formats
def test_a_long_conversation_seen_for_the_first_time_is_compacted_once(name):
    messages = list(requests_of(FORMATS[name](77, 16)))[-1]
    result = compress(messages, BUDGET)
    assert result.report.original_tokens > BUDGET
    assert result.report.tokens <= BUDGET // 2
    assert (result.report.cache_breaks, result.report.compactions) == (1, 1)
    again = compress(messages, BUDGET)
    assert again.messages == result.messages and again.report == result.report


def test_a_memory_is_bounded_and_forgets():
    memory = Memory(size=3)
    messages = chat(3, 6)
    for n in range(2, 10):
        compress(messages[:n], BUDGET, memory=memory)
    assert len(memory) == 3
    memory.forget()
    assert len(memory) == 0
    with pytest.raises(ValueError, match="at least one"):
        Memory(0)


def test_a_memory_forgets_after_its_time_and_by_scope():
    now = [0.0]
    memory = Memory(ttl=10, clock=lambda: now[0])
    compactor = Compactor(BUDGET, memory=memory)
    messages = chat(3, 16)
    requests = list(requests_of(messages))
    for request in requests[:-1]:
        compactor.compress(request, scope="a")
    first = compactor.compress(requests[-1], scope="a").report
    assert first.compactions > 1
    now[0] = 9.0
    assert compactor.compress(requests[-1], scope="a").report.compactions == first.compactions
    now[0] = 18.9  # ten seconds count from the last use
    assert compactor.compress(requests[-1], scope="a").report.compactions == first.compactions
    compactor.compress(requests[0], scope="b")
    assert len(memory) >= 2
    assert memory.forget("b") == 1 and memory.forget("c") == 0
    now[0] = 29.0
    assert compactor.compress(requests[-1], scope="a").report.compactions == 1
    assert len(memory) == 1 and memory.forget() == 1 and len(memory) == 0
    with pytest.raises(ValueError, match="ttl"):
        Memory(ttl=0)


def test_moving_cache_marks_does_not_move_compactions():
    breaks = {}
    for marked in (False, True):
        breaks[marked] = []
        for request in requests_of(FORMATS["anthropic"](3, 16)):
            request = copy.deepcopy(request)
            if marked:
                request[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
            result = compress(request, BUDGET)
            breaks[marked].append(result.report.tokens)
            if marked:
                assert "cache_control" in json.dumps(result.messages[-1])
    assert breaks[False] == breaks[True]


def test_cache_marks_are_not_counted():
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    marked = use | {"cache_control": {"type": "ephemeral"}}
    ends = [{"role": "user", "content": "x", **mark} for mark in ({}, {"cache_control": {"a": 1}})]
    plain = compress([{"role": "assistant", "content": [use]}, ends[0]], 999).report.tokens
    assert (
        compress([{"role": "assistant", "content": [marked]}, ends[1]], 999).report.tokens == plain
    )


@formats
def test_originals_stay_retrievable_and_the_input_is_not_modified(name):
    for request, result in grow(name, turns=18):
        before = json.dumps(request)
        for change in result.report.changes:
            found = request
            for step in change.path:
                found = found[step]
            assert result.originals[change.original] == found
            assert change.after < change.before
        assert json.dumps(request) == before


def test_budget_error_when_what_is_protected_exceeds_the_budget():
    messages = [{"role": "system", "content": "rule " * 500}, {"role": "user", "content": "hi"}]
    with pytest.raises(BudgetError, match=r"300 tokens, they are \d{3,}.*Raise the budget"):
        compress(messages, 300)
    with pytest.raises(BudgetError):
        compress(messages[1:], 300, system="rule " * 500)
    with pytest.raises(BudgetError):
        compress(messages[1:], 300, tools=TOOLS * 50)
    assert compress(messages, 300, shadow=True).report.error


def test_a_huge_message_is_refused_while_new_and_shortened_when_old():
    huge = [{"role": "user", "content": "word and word. " * 2000}]
    with pytest.raises(BudgetError):
        compress(huge, 1000)
    later = [*huge, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "and now?"}]
    result = compress(later, 1000)
    assert result.report.tokens <= 500 and result.report.compression > 10


def test_an_error_of_its_own_lets_the_request_through(caplog):
    def broken(text, budget, query, count):
        raise RuntimeError("secret text must not be logged")

    compactor = Compactor(2000, compressor=broken)
    messages = chat(1, 10)
    result = compactor.compress(messages)
    assert result.messages == messages and "RuntimeError" in result.report.error
    assert compactor.failures == 1
    assert "RuntimeError" in caplog.text and "secret" not in caplog.text


def test_a_compressor_that_lengthens_cannot_break_the_budget():
    result = compress(chat(1, 14), 4500, compressor=lambda text, *_: text + " more")
    assert result.report.tokens <= 4500


@pytest.mark.parametrize(
    "bad",
    ["hello", None, [1], [{"content": "x"}], [{"role": "boss", "content": "x"}],
     [{"role": "user", "content": 3}], [{"role": "user", "content": [3]}]],
)  # fmt: skip
def test_malformed_messages_are_named(bad):
    with pytest.raises(MessageError):
        compress(bad, 100)
    assert compress(bad or [], 100, enabled=False).report.tokens == 0


@pytest.mark.parametrize("budget", [0, -1, 1.5, True, "9"])
def test_a_budget_is_a_positive_int(budget):
    with pytest.raises(ValueError, match="budget"):
        compress([], budget)


def test_empty_and_odd_conversations():
    assert compress([], 100).messages == []
    odd = [
        {"role": "user", "content": ""},
        {"role": "assistant"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:;base64,A"}}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "new_thing"}]},
        {"role": "user", "content": "👩‍👩‍👧 \ud83d नमस्ते 世界"},
    ]
    assert compress(odd, 5000).messages == odd
    assert compress(odd, 5000).report.tokens > 1600  # the image


def test_cited_and_signed_text_is_protected():
    cited = {"type": "text", "text": "word " * 400, "citations": [{"cited_text": "word"}]}
    messages = [
        {"role": "user", "content": "a " * 300},
        {"role": "assistant", "content": [cited]},
        {"role": "user", "content": "b"},
    ]
    result = compress(messages, 600)
    assert result.messages[1] is messages[1] and result.messages[0] is not messages[0]


def test_shadow_reports_and_changes_nothing():
    messages = chat(3, 16)
    result = compress(messages, BUDGET, shadow=True)
    real = compress(messages, BUDGET)
    assert result.messages == messages and result.report.shadow
    assert result.report.tokens == real.report.tokens < result.report.original_tokens


def test_reads_writes_and_money_add_up():
    prices = Prices(input=3.0, cache_read=0.3, cache_write=3.75)
    sent = 0
    for _, result in grow("anthropic", prices=prices):
        r = result.report
        assert r.cache_reads + r.cache_writes == r.tokens
        assert r.original_reads + r.original_writes == r.original_tokens
        assert r.money == pytest.approx((0.3 * r.cache_reads + 3.75 * r.cache_writes) / 1e6)
        if not r.cache_breaks:
            assert r.cache_reads == sent
        elif sent:
            assert r.cache_reads < sent
        sent = r.tokens


def test_scopes_do_not_share_memory():
    compactor = Compactor(BUDGET)
    for request in requests_of(chat(3, 16)):
        grown = compactor.compress(request, scope="a")
    other = compactor.compress(request, scope="b")
    assert grown.report.compactions > 1 == other.report.compactions
    assert compactor.compress(request, scope="a").report == grown.report


def test_labels_name_the_original():
    result = compress(chat(3, 12), 8000, label=True)
    labelled = [c for c in result.report.changes if c.original in json.dumps(result.messages)]
    assert labelled and result.report.tokens <= 4000


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6), turns=st.integers(1, 10), budget=st.integers(400, 6000),
    name=st.sampled_from(sorted(FORMATS)), recent=st.sampled_from([0.0, 0.5, 1.0]),
    entry=st.sampled_from([None, 40]), compressor=st.sampled_from([None, Truncate("head")]),
)  # fmt: skip
def test_laws_hold_for_any_conversation(seed, turns, budget, name, recent, entry, compressor):
    last, state = [], Compactor(
        budget, recent=recent, tool_results=entry, compressor=compressor
    )  # fmt: skip
    for request in requests_of(FORMATS[name](seed, turns)):
        try:
            result = state.compress(request)
        except BudgetError:
            last = None
            continue
        assert result.report.error is None and result.report.tokens <= budget
        assert [without_texts(m) for m in result.messages] == [without_texts(m) for m in request]
        now = [json.dumps(m) for m in result.messages]
        if last is not None and not result.report.cache_breaks:
            assert now[: len(last)] == last
        last = now


def test_what_counts_as_json_and_as_error():
    assert is_structured(' {"a": 1} ') and is_structured("[1, 2]") and is_structured("{'py': 1}")
    assert is_structured('{"a":1}\n{"b":2}\n') and is_structured("```json\n{}\n```")
    assert not is_structured("See {this} and that.") and not is_structured("")
    assert is_error_text("Error: no") and is_error_text("requests.exceptions.HTTPError: 404")
    assert is_error_text("x\nTraceback (most recent call last):\n")
    assert not is_error_text("The error was fixed in March.")


def test_a_named_tokenizer_with_a_template_counts_the_whole_request():
    class Tokenizer:
        name_or_path = "toy"
        chat_template = "x"

        def __call__(self, text, add_special_tokens):
            return {"input_ids": text.split()}

        def apply_chat_template(self, messages, tools, tokenize, add_generation_prompt):
            schemas = [json.dumps(t) for t in tools or []]
            return " ".join(
                schemas + [f"<start> {m['role']} {m['content']} <end>" for m in messages]
            )

    messages = [{"role": "user", "content": "a b c"}]
    report = compress(messages, 100, count=Tokenizer()).report
    assert (report.counter, report.tokens) == ("toy", 6)
    assert compress(messages, 100, count=Tokenizer(), tools=TOOLS).report.tokens > 6
    growing = chat(3, 16)
    result = compress(growing, 1400, count=Tokenizer())
    rendered = Tokenizer().apply_chat_template(result.messages, None, False, True)
    assert result.report.tokens == len(rendered.split()) <= 1400
    assert counter(Tokenizer()).template is not None
    image = [{"role": "user", "content": [{"type": "image", "source": {}}]}]
    assert compress(image, 5000, count=Tokenizer(), image_tokens=900).report.tokens > 900
