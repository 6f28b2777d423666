"""Qdrant through its client: a server or a cluster by URL, or the client's own local mode.

Points, payloads and filters are those of `qdrant_points`, so that a collection can move between
this and `qdrant_edge`. The local mode (a folder, or ":memory:") keeps float32 in memory whatever
the type: it is for trying things out, a few thousand points. Servers and clusters are addressed by
the same calls; the tests run the local mode.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attar.stores.engines import qdrant_points
from attar.stores.engines.conditions import condition
from attar.stores.engines.engine import Engine, check_dtype, need
from attar.stores.engines.qdrant_points import Numbers, Words, carried, payload_of, point_id
from attar.stores.transfer.rows import BATCH, Rows
from attar.stores.types import Float32

REQUEST = 30_000_000
"""Bytes of JSON in one request; servers take 32 MB unless they are told otherwise."""
MARK = "attar"
"""The key of a collection's metadata that holds the mark."""


class QdrantEngine(Engine):
    """A collection of Qdrant, made when it does not exist; scored by inner product.

    place: `http(s)://host:port`, a folder, or ":memory:". dim: dimensions e. dtype: uint8, float16,
    float32, or turbo4, turbo8, turbo16 (servers since 1.19). exact: compare with every point
    instead of asking the graph. options: for the client (api_key=, timeout=, …). A collection of
    another dimension, type or distance is refused.
    """

    TYPES = qdrant_points.TYPES

    def __init__(
        self,
        place: str,
        collection: str,
        dim: int,
        dtype: str = "float16",
        exact: bool = True,
        **options: Any,
    ) -> None:
        library = need("qdrant_client", "qdrant-client")
        self._m = models = library.models
        self.dim, self.dtype = dim, check_dtype(dtype, self.TYPES)
        self._name, self._numbers = collection, Numbers(dim, dtype)
        # The local mode is exact anyway, and warns when it is told so.
        self._how = models.SearchParams(exact=exact) if "://" in place else None
        self._words = Words(models.Filter, models.FieldCondition, models.MatchValue, models.Range)
        form = {"url": place} if "://" in place else {"path": place}
        if place == ":memory:":
            form = {"location": place}
        self._client = library.QdrantClient(**form, **options)
        try:
            exists = self._client.collection_exists(collection)
        except Exception as error:
            raise ConnectionError(
                f"Qdrant does not answer at {place}: {str(error)[:200]}. Check that the server "
                "runs, and the api_key."
            ) from error
        size = self._numbers.size
        if not exists:
            vectors = models.VectorParams(
                size=size, distance=models.Distance.DOT, datatype=models.Datatype(dtype)
            )
            self._client.create_collection(collection, vectors_config=vectors)
            return
        has = self._client.get_collection(collection).config.params.vectors
        same = getattr(has, "size", None) == size and has.distance == models.Distance.DOT
        if not same or (has.datatype or "float32") != dtype:
            raise ValueError(
                f"The collection {collection!r} exists with {has!r:.200}, asked was {dim} "
                f"dimensions of {dtype} scored by Dot. Choose another collection."
            )

    def _checked(self, rows: Rows) -> Rows:
        checked = super()._checked(rows)
        self._numbers.check(checked)
        for row, name in enumerate(checked.ids):
            if (size := self._request_bytes(checked, row)) > REQUEST:
                raise ValueError(
                    f"Qdrant takes up to {REQUEST:,} bytes a request; id {name!r:.80} has "
                    f"{size:,}. Cut its text into chunks, or leave the text out."
                )
        return checked

    def _request_bytes(self, rows: Rows, row: int) -> int:
        """About what a document takes in a request: its metadata is in it twice."""
        text = len((rows.texts[row] or "").encode())
        return 24 * self._numbers.size + text + 3 * len(json.dumps(rows.metadata[row])) + 200

    def _existing(self, ids: Sequence[str]) -> set[str]:
        points = [str(point_id(name)) for name in ids]
        found = self._client.retrieve(self._name, points, with_payload=["id"], with_vectors=False)
        return {record.payload["id"] for record in found}

    def _insert(self, rows: Rows) -> None:
        points: list[Any] = []
        size = 0
        for row, x in enumerate(self._numbers.sent(rows.vectors)):
            name, more = rows.ids[row], self._request_bytes(rows, row)
            if points and size + more > REQUEST:
                self._client.upsert(self._name, points, wait=True)
                points, size = [], 0
            payload = payload_of(name, rows.texts[row], rows.metadata[row])
            points.append(self._m.PointStruct(id=str(point_id(name)), vector=x, payload=payload))
            size += more
        self._client.upsert(self._name, points, wait=True)

    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        vector, product = self._numbers.asked(query)
        wanted = None
        if filter is not None:
            wanted = self._m.Filter(must=[self._words.where(condition(filter))])
        found = self._client.query_points(
            self._name,
            query=vector,
            limit=k,
            query_filter=wanted,
            with_payload=["id"],
            search_params=self._how,
        ).points
        ranking = [(point.payload["id"], product(point.score)) for point in found]
        return sorted(ranking, key=lambda one: (-one[1], one[0].encode()))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; unknown ids are no error."""
        points = [str(point_id(name)) for name in ids]
        self._client.delete(self._name, self._m.PointIdsList(points=points), wait=True)

    def pull(self) -> Iterator[Rows]:
        """All documents, sorted by id; the ids are held in memory."""
        names: list[str] = []
        offset = None
        while True:
            records, offset = self._client.scroll(
                self._name, limit=BATCH, offset=offset, with_payload=["id"], with_vectors=False
            )
            names += [record.payload["id"] for record in records]
            if offset is None:
                break
        names.sort(key=str.encode)
        for start in range(0, len(names), BATCH):
            yield self.get(names[start : start + BATCH])

    def get(self, ids: Sequence[str]) -> Rows:
        """Documents by id, in the order of `ids`."""
        points = [str(point_id(name)) for name in ids]
        found = self._client.retrieve(self._name, points, with_vectors=True)
        return carried(ids, found, self.dim, self._numbers)

    def _read_mark(self) -> str | None:
        notes = self._client.get_collection(self._name).config.metadata or {}
        mark: str | None = notes.get(MARK)
        return mark

    def _write_mark(self, mark: str) -> None:
        self._client.update_collection(self._name, metadata={MARK: mark})

    def __len__(self) -> int:
        return int(self._client.count(self._name, exact=True).count)

    def close(self) -> None:
        """Close the client."""
        self._client.close()
