"""Metadata as typed scalars: the rows of the catalog's table `attributes`.

{"year": 1999, "author": {"name": "Ada"}, "tags": ["a", "b"]} gives year = 1999,
author = an object, author.name = "Ada", tags = a list, and the elements "a" and "b" of tags. A key
that contains a dot and a nested key with the same path are the same to a filter.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

NULL, BOOLEAN, NUMBER, STRING = 0, 1, 2, 3
ELEMENT = 10
LIST, OBJECT = 20, 21
DEEPEST = 16

Attribute = tuple[str, int, int | float | str]


def typed(value: object) -> tuple[int, int | float | str] | None:
    """Type and SQLite value of a JSON scalar, None for lists and objects."""
    if value is None:
        return NULL, 0
    if isinstance(value, bool):
        return BOOLEAN, int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return NUMBER, float(value) if abs(value) < 2**1023 else float("inf") * (1, -1)[value < 0]
    if isinstance(value, int | float):
        return NUMBER, value
    if isinstance(value, str):
        return STRING, value
    return None


def attributes(metadata: str | None) -> set[Attribute]:
    """Everything that filters can ask about one document's metadata (JSON text)."""
    return set() if metadata is None else set(_walk(json.loads(metadata), "", 0))


def _walk(value: Mapping[str, Any], prefix: str, depth: int) -> Iterator[Attribute]:
    for key, inner in value.items():
        path = f"{prefix}{key}"
        scalar = typed(inner)
        if scalar is not None:
            yield path, *scalar
        elif isinstance(inner, list):
            yield path, LIST, 0
            for item in inner:
                element = typed(item)
                if element is not None:
                    yield path, ELEMENT + element[0], element[1]
        else:
            yield path, OBJECT, 0
            if depth < DEEPEST:
                yield from _walk(inner, f"{path}.", depth + 1)
