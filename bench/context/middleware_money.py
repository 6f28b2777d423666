"""What the middleware saves in money and keeps in facts, over a growing conversation with tools.

Each turn asks a SQuAD question, a search tool returns five paragraphs (the answer in one of them,
at any place), the assistant answers. Two requests a turn. Every arm is billed by one rule from the
messages it sends: the longest prefix of messages shared with its previous request is read from the
provider's cache, the rest is written. Truncation at the same budget is in twice: the oldest turns
dropped, and the middleware with truncation in place of selection. Kept: earlier answers still to be
read in a tool's result of the last request (the assistant's own words, which name them, left out).
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from attar.context import Compactor, Prices, Truncate, counter
from bench.context.compllm_qa import asked_of_squad
from bench.registry import Result, bench

BUDGET, TURNS, PARAGRAPHS, ENTRY, SEEDS = 8000, (8, 16, 40), 5, 200, 3
PRICES = Prices(input=3.0, cache_read=0.3, cache_write=3.75)
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]

Messages = list[dict[str, Any]]
Arm = Callable[[Messages], Messages]
"""The conversation so far -> what is sent; called for every request in order."""


def turns(count: int, seed: int) -> list[tuple[Messages, str]]:
    """Draw (question, call, result, answer) messages and the answer, per turn."""
    texts, asked = asked_of_squad()
    rng = np.random.default_rng(seed)
    names, gold = sorted(texts), sorted(asked)
    out = []
    for n, doc in enumerate(rng.permutation(gold)[:count]):
        question, answer = asked[str(doc)][0]
        found = [str(x) for x in rng.choice(names, PARAGRAPHS + 1, replace=False) if x != doc]
        found = found[: PARAGRAPHS - 1]
        found.insert(int(rng.integers(PARAGRAPHS)), str(doc))
        function = {"name": "search", "arguments": json.dumps({"q": question})}
        call = {"id": f"c{n}", "type": "function", "function": function}
        result = "\n\n".join(texts[x] for x in found)
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": result},
            {"role": "assistant", "content": f"According to the search: {answer}."},
        ]
        out.append((messages, answer))
    return out


def arms() -> dict[str, Arm]:
    """Return every arm, each with a memory of its own."""

    def compacting(**options: Any) -> Arm:
        made = Compactor(BUDGET, **options)
        return lambda messages: made.compress(messages, tools=TOOLS).messages

    truncate = Truncate("head")
    return {
        "uncompressed": lambda messages: messages,
        "oldest turns dropped": drop_oldest,
        "compaction, truncation": compacting(compressor=truncate),
        "compaction, selection": compacting(),
        f"results to {ENTRY} on entry, truncation": compacting(
            compressor=truncate, tool_results=ENTRY
        ),
        f"results to {ENTRY} on entry, selection": compacting(tool_results=ENTRY),
    }


def drop_oldest(messages: Messages) -> Messages:
    """Drop whole turns from the start until the rest fits the budget."""
    starts = [i for i, m in enumerate(messages) if m["role"] == "user"]
    fits = (messages[i:] for i in starts if size(messages[i:]) <= BUDGET)
    return next(fits, messages[starts[-1] :])


def size(messages: Messages) -> int:
    """Tokens of a request by the library's own count."""
    return Compactor(10**9).compress(messages, tools=TOOLS).report.tokens


def run(arm: Arm, conversation: list[tuple[Messages, str]]) -> dict[str, float]:
    """Send every request of a conversation through an arm; bill it."""
    said: Messages = []
    before: Messages = []
    money, largest, breaks = 0.0, 0, 0
    for messages, _ in conversation:
        for part in (messages[:1], messages[1:3]):
            said = [*said, *part]
            sent = arm(said)
            shared = 0
            while shared < min(len(before), len(sent)) and before[shared] == sent[shared]:
                shared += 1
            tokens = size(sent)
            read = size(sent[:shared]) if shared else 0
            money += PRICES.cost(read, tokens - read)
            largest, breaks = max(largest, tokens), breaks + (shared < len(before))
            before = sent
        said = [*said, *messages[3:]]
    results = " ".join(str(m["content"]) for m in before if m["role"] == "tool")
    kept = [answer in results for _, answer in conversation[:-1]]
    return {"money": money, "breaks": breaks, "largest": largest, "kept": float(np.mean(kept))}


@bench("context/middleware_money", gate="tests/context/test_middleware_rules.py")
def middleware_money(quick: bool) -> Result:
    rows = []
    for count in TURNS[:1] if quick else TURNS:
        talks = [turns(count, seed) for seed in range(SEEDS)]
        got = {name: [] for name in arms()}  # type: dict[str, list[dict[str, float]]]
        for talk in talks:
            for name, arm in arms().items():
                got[name].append(run(arm, talk))
        plain = np.mean([r["money"] for r in got["uncompressed"]])
        rows += [
            {
                "turns": count,
                "arm": name,
                "money / uncompressed": float(np.mean([r["money"] for r in runs]) / plain),
                "cache breaks": float(np.mean([r["breaks"] for r in runs])),
                "largest request": max(r["largest"] for r in runs),
                "answers kept": float(np.mean([r["kept"] for r in runs])),
            }
            for name, runs in got.items()
        ]
    setup = {
        "budget": BUDGET, "counter": counter().name, "prices": vars(PRICES),
        "paragraphs": PARAGRAPHS, "requests per turn": 2, "conversations": SEEDS,
    }  # fmt: skip
    return Result(rows, setup)
