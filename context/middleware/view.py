"""What a conversation consists of: the only reader of message formats.

Chat Completions, Anthropic Messages and Responses items are read by the same rules. A message
becomes pieces; a piece is one text with its path in the original, or something counted and never
touched. Whatever is not understood is opaque, hence protected.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Path = tuple[int | str, ...]
Replacements = dict[Path, str]


class Kind(StrEnum):
    """What a piece is; only USER, ASSISTANT and TOOL texts may ever be shortened."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    JSON = "json"
    ERROR = "error"
    CALL = "call"
    OPAQUE = "opaque"
    IMAGE = "image"


class MessageError(ValueError):
    """A conversation is not a list of messages in a known format."""


@dataclass(frozen=True)
class Piece:
    """A text and where it stands: `path` leads to it from the list of messages."""

    path: Path
    kind: Kind
    text: str


@dataclass(frozen=True)
class Message:
    """A message: its normal role (system, user, assistant, tool) and its pieces in order."""

    role: str
    pieces: tuple[Piece, ...]


_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "tool": "tool",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "function": "tool",
}  # fmt: skip
_TEXT_KINDS = {
    "system": Kind.SYSTEM, "user": Kind.USER, "assistant": Kind.ASSISTANT, "tool": Kind.TOOL,
}  # fmt: skip
_TEXT_BLOCKS = ("text", "input_text", "output_text")
_IMAGE_BLOCKS = ("image", "image_url", "input_image")
_HARMLESS = ("type", "text", "cache_control", "id", "index")
_ERROR = re.compile(
    r"\A\W*(?:\w+\.)*(?:error|exception|traceback|fatal|panic|failed|failure|\w*Error|\w*Exception)\b",
    re.IGNORECASE,
)


def read(messages: Sequence[Any]) -> tuple[Message, ...]:
    """Read a conversation; the input is not modified.

    Raises
    ------
    MessageError
        If `messages` is not a list, or an entry is not a mapping with a known role or a type.
    """
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence):
        raise MessageError(
            f"A conversation is a list of messages, got {type(messages).__name__}; "
            "wrap a single message in a list."
        )
    return tuple(_message(i, message) for i, message in enumerate(messages))


def _message(i: int, message: Any) -> Message:
    if not isinstance(message, Mapping):
        raise MessageError(f"Message {i} is a mapping, got {type(message).__name__}.")
    if "role" not in message:
        return _item(i, message)
    role = _ROLES.get(str(message["role"]))
    if role is None:
        known = ", ".join(_ROLES)
        raise MessageError(f"Message {i} has role {message['role']!r}; known: {known}.")
    failed = message.get("status") == "error" or bool(message.get("is_error"))
    pieces = list(_content((i, "content"), message.get("content"), role, failed))
    aside = ("role", "content", "cache_control")
    rest = {k: v for k, v in message.items() if k not in aside and v}
    if rest:
        kind = Kind.CALL if "tool_calls" in rest else Kind.OPAQUE
        pieces.append(Piece((i,), kind, dump(rest)))
    blocks = message.get("content")
    if role == "user" and isinstance(blocks, list) and _only_results(blocks):
        role = "tool"
    return Message(role, tuple(pieces))


def _only_results(blocks: list[Any]) -> bool:
    types = [b.get("type") for b in blocks if isinstance(b, Mapping)]
    return bool(types) and all(t == "tool_result" for t in types)


def _item(i: int, item: Mapping[str, Any]) -> Message:
    """Read an item of the Responses API that has no role: calls, their outputs, reasoning."""
    kind = item.get("type")
    if not isinstance(kind, str):
        raise MessageError(f"Message {i} has neither a role nor a type; got keys {sorted(item)}.")
    if kind == "function_call_output":
        rest = {k: v for k, v in item.items() if k != "output"}
        failed = item.get("status") in ("incomplete", "error")
        pieces = _content((i, "output"), item.get("output"), "tool", failed)
        return Message("tool", (*pieces, Piece((i,), Kind.OPAQUE, dump(rest))))
    role = "tool" if kind.endswith("_output") else "assistant"
    return Message(role, (Piece((i,), Kind.CALL, dump(item)),))


def _content(path: Path, content: Any, role: str, failed: bool) -> Iterator[Piece]:
    if content is None:
        return
    if isinstance(content, str):
        yield Piece(path, _kind(content, role, failed), content)
    elif isinstance(content, Sequence):
        for j, block in enumerate(content):
            yield from _block((*path, j), block, role, failed)
    else:
        raise MessageError(
            f"Content of message {path[0]} is a string, a list of blocks or null, "
            f"got {type(content).__name__}."
        )


def _block(path: Path, block: Any, role: str, failed: bool) -> Iterator[Piece]:
    if isinstance(block, str):
        yield Piece(path, _kind(block, role, failed), block)
        return
    if not isinstance(block, Mapping):
        raise MessageError(
            f"Block {path[-1]} of message {path[0]} is a mapping or a string, "
            f"got {type(block).__name__}."
        )
    kind = block.get("type")
    if kind in _TEXT_BLOCKS and isinstance(block.get("text"), str):
        plain = all(k in _HARMLESS or not v for k, v in block.items())
        found = _kind(block["text"], role, failed) if plain else Kind.OPAQUE
        yield Piece((*path, "text"), found, block["text"])
    elif kind == "tool_result":
        yield from _content(
            (*path, "content"), block.get("content"), "tool", bool(block.get("is_error"))
        )
        yield Piece(path, Kind.OPAQUE, dump({"tool_use_id": block.get("tool_use_id")}))
    elif kind in _IMAGE_BLOCKS:
        yield Piece(path, Kind.IMAGE, "")
    else:
        yield Piece(path, Kind.CALL if kind == "tool_use" else Kind.OPAQUE, dump(block))


def _kind(text: str, role: str, failed: bool) -> Kind:
    if role == "tool":
        if failed or is_error_text(text):
            return Kind.ERROR
        if is_structured(text):
            return Kind.JSON
    return _TEXT_KINDS[role]


def is_error_text(text: str) -> bool:
    """Say whether a tool's result reports an error: it begins like one, or carries a traceback."""
    return bool(_ERROR.match(text[:200])) or "Traceback (most recent call last)" in text


def is_structured(text: str) -> bool:
    """Say whether a text is JSON, JSON lines, or bracketed like them; parsers may read it."""
    bare = text.strip()
    if bare.startswith("```json"):
        return True
    if bare[:1] + bare[-1:] in ("{}", "[]"):
        return True
    lines = [line for line in bare.splitlines() if line.strip()]
    return len(lines) > 1 and all(x.strip()[:1] + x.strip()[-1:] in ("{}", "[]") for x in lines)


def dump(value: Any) -> str:
    """Serialise what is only counted; cache marks are not part of what a model reads."""
    return json.dumps(_without_marks(value), ensure_ascii=False, sort_keys=True, default=str)


def _without_marks(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_marks(v) for k, v in value.items() if k != "cache_control"}
    if isinstance(value, (list, tuple)):
        return [_without_marks(v) for v in value]
    return value


def replaced(messages: Sequence[Any], replacements: Replacements) -> list[Any]:
    """Return the messages with the texts at these paths replaced; nothing else is copied."""
    out = list(messages)
    for path, text in replacements.items():
        out[int(path[0])] = _with(out[int(path[0])], path[1:], text)
    return out


def _with(value: Any, path: Path, text: str) -> Any:
    if not path:
        return text
    copy: Any = list(value) if isinstance(value, (list, tuple)) else dict(value)
    copy[path[0]] = _with(value[path[0]], path[1:], text)
    return copy
