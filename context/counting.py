"""Token counts by a named tokenizer, and a safe estimate that needs none.

A budget is a promise in tokens of one tokenizer, so everything that counts says whose tokens.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

CountText = Callable[[str], int]
CountRequest = Callable[[Sequence[Any], Sequence[Any] | None], int]

_RUNS = re.compile(
    r"(?P<word>[A-Z]?[a-z]+)|(?P<capitals>[A-Z]+)|(?P<digits>[0-9]+)|(?P<newline>\n)"
    r"|(?P<space>[ \t\r]+)|(?P<other>[\x00-\x7f])|(?P<wide>[^\x00-\x7f]+)"
)
_LETTERS_PER_TOKEN = 5
_CAPITALS_PER_TOKEN = 3
_REMEMBERED = 1 << 15


@dataclass(frozen=True)
class Counter:
    """Counts tokens and says by whose tokenizer.

    name: what the report prints.
    text: tokens of a bare text, without special tokens.
    template: tokens of a whole chat request (messages, tools) rendered by the model's own chat
        template, where the tokenizer has one; None means that the request is counted part by part.
    """

    name: str
    text: CountText
    template: CountRequest | None = None


def estimate_tokens(text: str) -> int:
    """Estimate tokens so that the estimate is rarely below what a real tokenizer gives.

    Lower-case and capitalised words count one token per started five letters, runs of capitals one
    per three, every digit and every other ASCII character one, runs of two and more spaces one,
    everything beyond ASCII one per two UTF-8 bytes. docs/context.md has the measured distance to a
    real tokenizer.
    """
    tokens = 0
    for run in _RUNS.finditer(text):
        kind, size = run.lastgroup, run.end() - run.start()
        if kind == "word":
            tokens += -(-size // _LETTERS_PER_TOKEN)
        elif kind == "capitals":
            tokens += -(-size // _CAPITALS_PER_TOKEN)
        elif kind == "space":
            tokens += size > 1
        elif kind == "wide":
            tokens += -(-len(run.group().encode("utf-8", "surrogatepass")) // 2)
        else:
            tokens += size
    return tokens


def counter(spec: Any = None) -> Counter:
    """Make a `Counter` of what the caller has.

    spec: None (`estimate_tokens`, no download), a `Counter`, a callable `text -> int`, a Hugging
    Face tokenizer (its chat template, if it has one, counts whole requests), a `tokenizers`
    tokenizer, or a tiktoken encoding.

    Raises
    ------
    TypeError
        If `spec` is none of these.
    """
    if spec is None:
        return Counter("attar estimate", _remembered(estimate_tokens))
    if isinstance(spec, Counter):
        return spec
    if hasattr(spec, "encode_ordinary"):
        return Counter(str(spec.name), _remembered(lambda text: len(spec.encode_ordinary(text))))
    if hasattr(spec, "apply_chat_template"):
        return _of_hugging_face(spec)
    if hasattr(spec, "encode") and hasattr(spec, "get_vocab_size"):
        return Counter(
            type(spec).__name__,
            _remembered(lambda text: len(spec.encode(text, add_special_tokens=False).ids)),
        )
    if callable(spec):
        return Counter(getattr(spec, "__name__", type(spec).__name__), _remembered(spec))
    raise TypeError(
        "A token count needs None, a callable text -> int, a Hugging Face tokenizer, a tokenizers "
        f"tokenizer or a tiktoken encoding, got {type(spec).__name__}."
    )


def _of_hugging_face(tokenizer: Any) -> Counter:
    def text(value: str) -> int:
        return len(tokenizer(value, add_special_tokens=False)["input_ids"])

    def template(messages: Sequence[Any], tools: Sequence[Any] | None) -> int:
        rendered = tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=True,
        )
        return text(rendered)

    name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
    has_template = bool(getattr(tokenizer, "chat_template", None))
    return Counter(name, _remembered(text), template if has_template else None)


def _remembered(count: CountText) -> CountText:
    """Remember counts by a hash of the text, never the text; refuse what is not a count."""
    seen: dict[bytes, int] = {}

    def remember(text: str) -> int:
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = seen.get(key)
        if found is not None:
            return found
        tokens = count(text)
        if not isinstance(tokens, int) or tokens < 0:
            raise TypeError(f"A token counter returns an int >= 0, got {tokens!r}.")
        if len(seen) >= _REMEMBERED:
            seen.clear()
        seen[key] = tokens
        return tokens

    return remember
