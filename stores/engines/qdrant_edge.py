"""Qdrant's segment engine in this process (the package qdrant-edge-py).

Points get the UUID version 5 of their id. The payload holds the id, the text and the metadata as
JSON text, and beside them what filters ask: `m` the scalars, `l` the lists, `k` the names of the
fields that exist; so that a comparison with a value never means an element of a list.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attar.stores.engines.conditions import All, AnyOf, Condition, Leaf, condition
from attar.stores.engines.engine import Engine, check_dtype, in_order, need
from attar.stores.filters.attributes import BOOLEAN, ELEMENT, LIST, NULL, OBJECT, attributes
from attar.stores.transfer.rows import BATCH, Rows
from attar.stores.types import Float32

CODES = "attar.codes"
"""A field of the metadata that holds codes, for refining; no filter asks about it."""
SPACE = uuid.UUID("6b1c3a3e-5f0e-5c55-9d0e-0a77a7000001")
"""Namespace of the version 5 UUIDs."""


class QdrantEdgeEngine(Engine):
    """A shard in a folder, made when the folder does not exist.

    dim: dimensions e. dtype: float16 or float32. A shard of another dimension or type is refused.
    """

    def __init__(self, path: str | Path, dim: int, dtype: str = "float16") -> None:
        self._q = q = need("qdrant_edge", "qdrant-edge-py")
        self.dim, self.dtype = dim, check_dtype(dtype)
        kind = q.VectorStorageDatatype.Float16 if dtype == "float16" else None
        vectors = q.EdgeVectorParams(size=dim, distance=q.Distance.Dot, datatype=kind)
        config = q.EdgeConfig(vectors=vectors)
        folder, note = Path(path), {"dim": dim, "dtype": dtype}
        head = folder / "attar.json"
        if folder.exists():
            has = json.loads(head.read_text()) if head.is_file() else None
            if has != note:
                raise ValueError(
                    f"{folder} exists and holds {has or 'no shard of ours'}, asked was {note}. "
                    "Choose another folder, or the dimension and dtype that it has."
                )
            self._shard = q.EdgeShard.load(str(folder))
        else:
            folder.mkdir(parents=True)
            self._shard = q.EdgeShard.create(str(folder), config)
            head.write_text(json.dumps(note))
        self._open = True

    def _existing(self, ids: Sequence[str]) -> set[str]:
        found = self._shard.retrieve(
            [point_id(i) for i in ids], with_payload=True, with_vector=False
        )
        return {record.payload["id"] for record in found}

    def _insert(self, rows: Rows) -> None:
        points = []
        for name, text, note, x in zip(
            rows.ids, rows.texts, rows.metadata, rows.vectors, strict=True
        ):
            points.append(self._q.Point(point_id(name), x.tolist(), payload_of(name, text, note)))
        self._shard.update(self._q.UpdateOperation.upsert_points(points))
        self._shard.flush()

    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        q = self._q
        wanted = None if filter is None else q.Filter(must=[self._where(condition(filter))])
        found = self._shard.query(
            q.QueryRequest(
                limit=k,
                query=q.Query.Nearest(query.tolist()),
                filter=wanted,
                with_payload=True,
                params=q.SearchParams(exact=True),
            )
        )
        ranking = [(point.payload["id"], float(point.score)) for point in found]
        return sorted(ranking, key=lambda one: (-one[1], one[0].encode()))

    def _where(self, node: Condition) -> Any:
        q = self._q
        if isinstance(node, All):
            return q.Filter(must=[self._where(part) for part in node.parts])
        if isinstance(node, AnyOf):
            return q.Filter(should=[self._where(part) for part in node.parts])
        if isinstance(node, Leaf):
            return self._leaf(node)
        return q.Filter(must_not=[self._where(node.part)])

    def _leaf(self, leaf: Leaf) -> Any:
        q, value = self._q, leaf.value
        value = value.item() if isinstance(value, np.generic) else value
        if leaf.operator == "exists":
            return q.FieldCondition("k", match=q.MatchValue(leaf.field))
        if leaf.operator == "eq" and value is None:
            return q.FieldCondition("n", match=q.MatchValue(leaf.field))
        if '"' in leaf.field or "\\" in leaf.field:
            raise ValueError(f"Qdrant's paths hold no quotes, got the field {leaf.field!r:.80}.")
        key = f'{"l" if leaf.operator == "contains" else "m"}."{leaf.field}"'
        if leaf.operator in ("eq", "contains"):
            if isinstance(value, bool | str):
                return q.FieldCondition(key, match=q.MatchValue(plain(value)))
            if value is None:
                raise ValueError(f"Qdrant cannot look for null in a list ({leaf.field!r}).")
            return q.FieldCondition(key, range=q.RangeFloat(gte=float(value), lte=float(value)))
        if isinstance(value, str):
            raise ValueError(
                f"Qdrant orders numbers only; ${leaf.operator} of {leaf.field!r} has the string "
                f"{value!r:.80}. Store a number (a timestamp) to order by."
            )
        return q.FieldCondition(key, range=q.RangeFloat(**{leaf.operator: float(value)}))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; unknown ids are no error."""
        points = [point_id(name) for name in ids]
        self._shard.update(self._q.UpdateOperation.delete_points(points))
        self._shard.flush()

    def pull(self) -> Iterator[Rows]:
        """All documents, sorted by id; the ids are held in memory."""
        names: list[str] = []
        offset = None
        while True:
            request = self._q.ScrollRequest(offset=offset, limit=BATCH, with_payload=True)
            records, offset = self._shard.scroll(request)
            names += [record.payload["id"] for record in records]
            if offset is None:
                break
        names.sort(key=str.encode)
        for start in range(0, len(names), BATCH):
            yield self.get(names[start : start + BATCH])

    def get(self, ids: Sequence[str]) -> Rows:
        """Documents by id, in the order of `ids`."""
        points = [point_id(name) for name in ids]
        found = self._shard.retrieve(points, with_payload=True, with_vector=True)
        return carried(ids, found, self.dim)

    def __len__(self) -> int:
        return int(self._shard.count(self._q.CountRequest(exact=True)))

    def close(self) -> None:
        """Flush and let the folder go."""
        if self._open:
            self._open = False
            self._shard.flush()
            self._shard.close()


def point_id(name: str) -> uuid.UUID:
    """The UUID of a document's id."""
    return uuid.uuid5(SPACE, name)


def carried(ids: Sequence[str], records: Sequence[Any], dim: int) -> Rows:
    """Documents of points that were retrieved, in the order of `ids`."""
    found = {}
    for record in records:
        payload = record.payload
        meta = payload.get("meta")
        found[payload["id"]] = (record.vector, payload.get("text"), meta and json.loads(meta))
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
