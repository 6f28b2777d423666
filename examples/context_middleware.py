"""A conversation that grows past its budget: what is sent, what it costs, what stays.

    python examples/context_middleware.py

Needs no model and no network: the middleware works on messages.
"""

from attar.context import Compactor, Prices

TOOLS = [{"type": "function", "function": {"name": "read_log", "parameters": {"type": "object"}}}]


def turn(n: int) -> list[dict[str, object]]:
    """One turn of an agent: a question, a tool call, its log, an answer."""
    log = " ".join(f"Pump {i} reports normal pressure in cycle {n}." for i in range(60))
    call = {"id": f"c{n}", "type": "function", "function": {"name": "read_log", "arguments": "{}"}}
    return [
        {"role": "user", "content": f"What happened in cycle {n}?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {
            "role": "tool",
            "tool_call_id": f"c{n}",
            "content": f"{log} Fault QX-44{n:02d} on pump 7.",
        },
        {"role": "assistant", "content": f"Pump 7 had fault QX-44{n:02d} in cycle {n}."},
    ]


def main() -> None:
    """Print a line per compaction and for every eighth request."""
    compactor = Compactor(8000, prices=Prices(input=3.0, cache_read=0.3, cache_write=3.75))
    messages: list[dict[str, object]] = [{"role": "system", "content": "You watch pumps."}]
    money = original_money = 0.0
    for n in range(40):
        new = turn(n)
        messages += new[:1]
        result = compactor.compress(messages, tools=TOOLS)
        report = result.report
        money += report.money or 0.0
        original_money += report.original_money or 0.0
        if report.cache_breaks or n % 8 == 0:
            print(
                f"turn {n:2d}: {report.original_tokens:5d} tokens -> {report.tokens:4d}, "
                f"{report.cache_reads:4d} from the provider's cache, breaks {report.cache_breaks}"
            )
        messages += new[1:]
    print(f"predicted money: {money:.3f} instead of {original_money:.3f}")
    old = str(result.messages[3]["content"])
    print(f"the first log as it is sent now: {old[:70]}")
    change = report.changes[0]
    size = len(result.originals[change.original])
    print(f"its original is kept as {change.original}: {size} characters")


if __name__ == "__main__":
    main()
