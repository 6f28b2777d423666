"""Qdrant's segment engine in this process (the package qdrant-edge-py)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attar.stores.engines import qdrant_points
from attar.stores.engines.conditions import condition
from attar.stores.engines.engine import Engine, check_dtype, need
from attar.stores.engines.qdrant_points import Numbers, Words, carried, payload_of, point_id
from attar.stores.transfer.rows import BATCH, Rows
from attar.stores.types import Float32

MARK = "mark"


class QdrantEdgeEngine(Engine):
    """A shard in a folder, made when the folder does not exist.

    dim: dimensions e. dtype: turbo4, uint8, turbo8, float16, turbo16 or float32. A shard of another
    dimension or type is refused.
    """

    TYPES = qdrant_points.TYPES

    def __init__(self, path: str | Path, dim: int, dtype: str = "float16") -> None:
        self._q = q = need("qdrant_edge", "qdrant-edge-py")
        self.dim, self.dtype = dim, check_dtype(dtype, self.TYPES)
        self._numbers = Numbers(dim, dtype)
        self._words = Words(q.Filter, q.FieldCondition, q.MatchValue, q.RangeFloat)
        kind = getattr(q.VectorStorageDatatype, dtype.capitalize())
        folder, note = Path(path), {"dim": dim, "dtype": dtype}
        self._head = folder / "attar.json"
        if folder.exists():
            has = json.loads(self._head.read_text()) if self._head.is_file() else {}
            self._mark: str | None = has.pop(MARK, None)
            if has != note:
                raise ValueError(
                    f"{folder} exists and holds {has or 'no shard of ours'}, asked was {note}. "
                    "Choose another folder, or the dimension and dtype that it has."
                )
            try:
                self._shard = q.EdgeShard.load(str(folder))
            except Exception as error:
                raise OSError(
                    f"Qdrant cannot open {folder}: {str(error)[:200]}. One process at a time has "
                    "it open, and closes it."
                ) from error
        else:
            folder.mkdir(parents=True)
            size = self._numbers.size
            vectors = q.EdgeVectorParams(size=size, distance=q.Distance.Dot, datatype=kind)
            self._shard = q.EdgeShard.create(str(folder), q.EdgeConfig(vectors=vectors))
            self._head.write_text(json.dumps(note))
            self._mark = None
        self._open = True

    def _checked(self, rows: Rows) -> Rows:
        checked = super()._checked(rows)
        self._numbers.check(checked)
        return checked

    def _existing(self, ids: Sequence[str]) -> set[str]:
        found = self._shard.retrieve(
            [point_id(i) for i in ids], with_payload=True, with_vector=False
        )
        return {record.payload["id"] for record in found}

    def _insert(self, rows: Rows) -> None:
        vectors = self._numbers.sent(rows.vectors)
        points = [
            self._q.Point(point_id(name), x, payload_of(name, text, note))
            for name, text, note, x in zip(
                rows.ids, rows.texts, rows.metadata, vectors, strict=True
            )
        ]
        self._shard.update(self._q.UpdateOperation.upsert_points(points))
        self._shard.flush()

    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        q, (vector, product) = self._q, self._numbers.asked(query)
        wanted = None
        if filter is not None:
            wanted = q.Filter(must=[self._words.where(condition(filter))])
        found = self._shard.query(
            q.QueryRequest(
                limit=k,
                query=q.Query.Nearest(vector),
                filter=wanted,
                with_payload=True,
                params=q.SearchParams(exact=True),
            )
        )
        ranking = [(point.payload["id"], product(point.score)) for point in found]
        return sorted(ranking, key=lambda one: (-one[1], one[0].encode()))

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
        return carried(ids, found, self.dim, self._numbers)

    def _read_mark(self) -> str | None:
        return self._mark

    def _write_mark(self, mark: str) -> None:
        head = {"dim": self.dim, "dtype": self.dtype, MARK: mark}
        draft = self._head.with_suffix(".new")
        draft.write_text(json.dumps(head))
        draft.replace(self._head)
        self._mark = mark

    def __len__(self) -> int:
        return int(self._shard.count(self._q.CountRequest(exact=True)))

    def close(self) -> None:
        """Flush and let the folder go."""
        if self._open:
            self._open = False
            self._shard.flush()
            self._shard.close()
