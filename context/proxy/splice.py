"""Strings inside a JSON document replaced, every other byte kept.

Parsing and writing a request again would change what must not change: number formats in tool
inputs, escapes, key order under duplicate keys, white space. So the places of the strings are found
in the bytes, and only these are written anew.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from attar.context.middleware.view import Path

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^ \t\r\n,\]}]+")

Spans = dict[Path, tuple[int, int]]


def splice(body: bytes, replacements: Mapping[Path, str]) -> bytes:
    """Return the document with the strings at these paths replaced.

    body: valid JSON in UTF-8. A path is the keys and indices from the top to a string.

    Raises
    ------
    KeyError
        If there is no string at a path.
    """
    text = body.decode("utf-8")
    spans: Spans = {}
    _value(text, _skip(text, 0), (), spans)
    parts, done = [], 0
    for (start, end), new in sorted((spans[p], t) for p, t in replacements.items()):
        parts += [text[done:start], _quoted(new)]
        done = end
    return "".join([*parts, text[done:]]).encode("utf-8")


def _quoted(text: str) -> str:
    plain = json.dumps(text, ensure_ascii=False)
    lone = any("\ud800" <= c <= "\udfff" for c in plain)
    return json.dumps(text) if lone else plain


def _skip(text: str, at: int) -> int:
    found: Any = _SPACE.match(text, at)
    return int(found.end())


def _value(text: str, at: int, path: Path, spans: Spans) -> int:
    """Walk the value at `at`, note the strings in it, return where it ends."""
    first = text[at]
    if first == "{":
        return _members(text, at, path, spans)
    if first == "[":
        return _entries(text, at, path, spans)
    found: Any = (_STRING if first == '"' else _SCALAR).match(text, at)
    if first == '"':
        spans[path] = (at, found.end())
    return int(found.end())


def _members(text: str, at: int, path: Path, spans: Spans) -> int:
    at = _skip(text, at + 1)
    while text[at] != "}":
        key: Any = _STRING.match(text, at)
        colon = _skip(text, key.end())
        name = json.loads(key.group())
        at = _skip(text, _value(text, _skip(text, colon + 1), (*path, name), spans))
        at = _skip(text, at + 1) if text[at] == "," else at
    return at + 1


def _entries(text: str, at: int, path: Path, spans: Spans) -> int:
    at = _skip(text, at + 1)
    index = 0
    while text[at] != "]":
        at = _skip(text, _value(text, at, (*path, index), spans))
        at = _skip(text, at + 1) if text[at] == "," else at
        index += 1
    return at + 1
