"""Growing conversations with tools, in the three formats, from one seeded script."""

import json
import random

WORDS = (
    "the pump of unit seven reports pressure above the limit and the valve stays closed while "
    "engineers compare logs from march with the readings of april before they decide what to do"
).split()


def prose(rng, sentences):
    lines = []
    for _ in range(sentences):
        words = [rng.choice(WORDS) for _ in range(rng.randint(5, 14))]
        if rng.random() < 0.3:
            words.append(f"ID-{rng.randrange(10**6):06x}")
        lines.append(" ".join(words).capitalize() + ".")
    return " ".join(lines)


def script(seed, turns):
    """Yield (kind, payload) events: user, call, result, assistant."""
    rng = random.Random(seed)
    for turn in range(turns):
        yield "user", prose(rng, rng.randint(1, 8))
        for call in range(rng.choice((0, 0, 1, 2))):
            id = f"call_{turn}_{call}"
            yield "call", (id, "lookup", {"q": rng.choice(WORDS), "n": rng.randint(1, 9), "x": 1.0})
            yield "result", (id, result(rng))
        yield "assistant", prose(rng, rng.randint(4, 20))


def result(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return "json", json.dumps({"rows": [prose(rng, 1)]})
    if kind == 1:
        return "error", "TimeoutError: the server did not answer. " + prose(rng, 1)
    return "text", prose(rng, rng.randint(3, 60))


def chat(seed, turns):
    out = [{"role": "system", "content": "You watch pumps. Answer shortly."}]
    for kind, x in script(seed, turns):
        if kind == "user":
            out.append({"role": "user", "content": x})
        elif kind == "assistant":
            out.append({"role": "assistant", "content": x})
        elif kind == "call":
            f = {"name": x[1], "arguments": json.dumps(x[2])}
            call = {"id": x[0], "type": "function", "function": f}
            out.append({"role": "assistant", "content": None, "tool_calls": [call]})
        else:
            out.append({"role": "tool", "tool_call_id": x[0], "content": x[1][1]})
    return out


def anthropic(seed, turns):
    out = []
    for kind, x in script(seed, turns):
        if kind == "user":
            out.append({"role": "user", "content": [{"type": "text", "text": x}]})
        elif kind == "assistant":
            think = {"type": "thinking", "thinking": "hm " * 9, "signature": "c2ln"}
            out.append({"role": "assistant", "content": [think, {"type": "text", "text": x}]})
        elif kind == "call":
            use = {"type": "tool_use", "id": x[0], "name": x[1], "input": x[2]}
            out.append({"role": "assistant", "content": [use]})
        else:
            block = {"type": "tool_result", "tool_use_id": x[0], "is_error": x[1][0] == "error"}
            block["content"] = [{"type": "text", "text": x[1][1]}]
            out.append({"role": "user", "content": [block]})
    return out


def responses(seed, turns):
    out = []
    for kind, x in script(seed, turns):
        if kind == "user":
            part = {"type": "input_text", "text": x}
            out.append({"type": "message", "role": "user", "content": [part]})
        elif kind == "assistant":
            part = {"type": "output_text", "text": x, "annotations": []}
            out.append({"type": "message", "role": "assistant", "content": [part]})
        elif kind == "call":
            args = json.dumps(x[2])
            out.append({"type": "reasoning", "id": f"rs_{x[0]}", "encrypted_content": "gAAA=="})
            out.append({"type": "function_call", "call_id": x[0], "name": x[1], "arguments": args})
        else:
            out.append({"type": "function_call_output", "call_id": x[0], "output": x[1][1]})
    return out


FORMATS = {"chat": chat, "anthropic": anthropic, "responses": responses}


def requests_of(messages):
    """The requests that a client makes while the conversation grows: prefixes, newest last."""
    for n in range(1, len(messages) + 1):
        last = messages[n - 1]
        mine = last.get("role") == "assistant" or last.get("type") in ("function_call", "reasoning")
        if not mine and last.get("role") != "system":
            yield messages[:n]
