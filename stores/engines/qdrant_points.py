"""What the two ways to Qdrant share: types, ids, payloads, filters.

Points get the UUID version 5 of their id. The payload holds the id, the text and the metadata as
JSON text, and beside them what filters ask: `m` the scalars, `l` the lists, `k` the names of the
fields that exist, `n` those that are null; so that a comparison with a value never means an element
of a list.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.engines.conditions import All, AnyOf, Condition, Leaf
from attar.stores.engines.engine import in_order
from attar.stores.engines.offset_bytes import OffsetBytes
from attar.stores.filters.attributes import BOOLEAN, ELEMENT, LIST, NULL, OBJECT, attributes
from attar.stores.transfer.rows import Rows
from attar.stores.types import Float32

TYPES = ("turbo4", "uint8", "turbo8", "float16", "turbo16", "float32")
"""Datatypes of Qdrant, smallest first; turbo ones (TurboQuant) since its version 1.19."""
CODES = "attar.codes"
"""A field of the metadata that holds codes, for refining; no filter asks about it."""
SPACE = uuid.UUID("6b1c3a3e-5f0e-5c55-9d0e-0a77a7000001")
"""Namespace of the version 5 UUIDs."""


class Numbers:
    """Vectors [n e] as an engine of one datatype takes and gives them."""

    def __init__(self, dim: int, dtype: str) -> None:
        self.dtype = dtype
        self._bytes = OffsetBytes(dim) if dtype == "uint8" else None
        self.size = dim if self._bytes is None else self._bytes.width

    def sent(self, x: Float32) -> list[list[float]]:
        """What points hold; float16 is rounded here, since the client's local mode does not."""
        if self._bytes is not None:
            x = self._bytes.documents(x).astype(np.float32)
        if self.dtype == "float16":
            x = x.astype(np.float16).astype(np.float32)
        rows: list[list[float]] = x.tolist()
        return rows

    def asked(self, query: Float32) -> tuple[list[float], Callable[[float], float]]:
        """What is asked, and a score to an inner product."""
        if self._bytes is None:
            return query.tolist(), float
        u, a, b = self._bytes.query(query)
        return u.astype(np.float32).tolist(), lambda score: a * score + b

    def received(self, vector: Sequence[float]) -> Float32:
        """The vector [e] of a point."""
        x = np.asarray(vector, np.float32)
        return x if self._bytes is None else self._bytes.vectors(x)[0]

    def check(self, rows: Rows) -> None:
        """Raise ValueError for what unsigned bytes cannot hold."""
        if self._bytes is None or not len(rows.ids):
            return
        largest = np.abs(self._bytes.turned(rows.vectors)).max(axis=1)
        if largest.max() > 1 + 1e-6:
            row = int(largest.argmax())
            raise ValueError(
                f"uint8 holds coordinates up to 1, after turning; id {rows.ids[row]!r:.80} has "
                f"{largest[row]:g}. Divide all vectors by the largest such number, or use another "
                "dtype; attar.engines.Served does it."
            )


@dataclass(frozen=True)
class Words:
    """How a client spells conditions."""

    filter: Any
    field: Any
    match: Any
    range: Any

    def where(self, node: Condition) -> Any:
        """A condition as a filter or a part of one."""
        if isinstance(node, All):
            return self.filter(must=[self.where(part) for part in node.parts])
        if isinstance(node, AnyOf):
            return self.filter(should=[self.where(part) for part in node.parts])
        if isinstance(node, Leaf):
            return self._leaf(node)
        return self.filter(must_not=[self.where(node.part)])

    def _leaf(self, leaf: Leaf) -> Any:
        value = leaf.value.item() if isinstance(leaf.value, np.generic) else leaf.value
        missing = leaf.operator == "eq" and value is None
        if leaf.operator == "exists" or missing:
            return self.field(key="n" if missing else "k", match=self.match(value=leaf.field))
        if '"' in leaf.field or "\\" in leaf.field:
            raise ValueError(f"Qdrant's paths hold no quotes, got the field {leaf.field!r:.80}.")
        key = f'{"l" if leaf.operator == "contains" else "m"}."{leaf.field}"'
        if leaf.operator in ("eq", "contains"):
            if isinstance(value, bool | str):
                return self.field(key=key, match=self.match(value=plain(value)))
            if value is None:
                raise ValueError(f"Qdrant cannot look for null in a list ({leaf.field!r}).")
            return self.field(key=key, range=self.range(gte=float(value), lte=float(value)))
        if isinstance(value, str):
            raise ValueError(
                f"Qdrant orders numbers only; ${leaf.operator} of {leaf.field!r} has the string "
                f"{value!r:.80}. Store a number (a timestamp) to order by."
            )
        return self.field(key=key, range=self.range(**{leaf.operator: float(value)}))


def point_id(name: str) -> uuid.UUID:
    """The UUID of a document's id."""
    return uuid.uuid5(SPACE, name)


def carried(ids: Sequence[str], records: Sequence[Any], dim: int, numbers: Numbers) -> Rows:
    """Documents of points that were retrieved, in the order of `ids`."""
    found = {}
    for record in records:
        payload = record.payload
        meta = payload.get("meta")
        vector = numbers.received(record.vector)
        found[payload["id"]] = (vector, payload.get("text"), meta and json.loads(meta))
    return in_order(ids, found, dim)


def payload_of(name: str, text: str | None, note: dict[str, Any] | None) -> dict[str, Any]:
    """What a point carries: see the head of this file."""
    meta = None if note is None else json.dumps(note, ensure_ascii=False)
    scalars: dict[str, list[Any]] = {}
    lists: dict[str, list[Any]] = {}
    keys: set[str] = set()
    nulls: set[str] = set()
    asked_for = {key: value for key, value in (note or {}).items() if key != CODES}
    for path, kind, value in sorted(attributes(json.dumps(asked_for)), key=repr):
        if kind == NULL:
            nulls.add(path)
        elif kind < ELEMENT:
            scalars.setdefault(path, []).append(plain(_typed(kind, value)))
        elif kind not in (LIST, OBJECT, ELEMENT + NULL):
            lists.setdefault(path, []).append(plain(_typed(kind - ELEMENT, value)))
        if kind < ELEMENT or kind in (LIST, OBJECT):
            keys.add(path)
    asked = {"m": scalars, "l": lists, "k": sorted(keys), "n": sorted(nulls)}
    return {"id": name, "text": text, "meta": meta, **asked}


def plain(value: bool | int | float | str) -> int | float | str:
    """What is matched: "bTrue" for true, since qdrant-edge-py 0.9 finds no boolean in a list.

    Strings get a prefix too, so that none of them is taken for a boolean.
    """
    if isinstance(value, bool):
        return f"b{value}"
    return f"s{value}" if isinstance(value, str) else value


def _typed(kind: int, value: int | float | str) -> bool | int | float | str:
    return bool(value) if kind == BOOLEAN else value
