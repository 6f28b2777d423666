"""Qdrant through its client: a server or a cluster by URL, or the client's own local mode.

Points, payloads and filters are those of `qdrant_edge`, so that a collection can move between the
two. The local mode (a folder, or ":memory:") keeps float32 in memory whatever the type: it is for
trying things out, a few thousand points. Servers and clusters are addressed by the same calls; the
tests run the local mode.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attar.stores.engines.conditions import All, AnyOf, Condition, Leaf, condition
from attar.stores.engines.engine import Engine, check_dtype, need
from attar.stores.engines.qdrant_edge import carried, payload_of, plain, point_id
from attar.stores.transfer.rows import BATCH, Rows
from attar.stores.types import Float32


class QdrantEngine(Engine):
    """A collection of Qdrant, made when it does not exist; scored by inner product.

    place: `http(s)://host:port`, a folder, or ":memory:". dim: dimensions e. dtype: float16 or
    float32. exact: compare with every point instead of asking the graph. options: for the client
    (api_key=, timeout=, …). A collection of another dimension or distance is refused.
    """

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
        self.dim, self.dtype, self._name, self._exact = dim, check_dtype(dtype), collection, exact
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
        if not exists:
            kind = models.Datatype.FLOAT16 if dtype == "float16" else models.Datatype.FLOAT32
            vectors = models.VectorParams(size=dim, distance=models.Distance.DOT, datatype=kind)
            self._client.create_collection(collection, vectors_config=vectors)
            return
        has = self._client.get_collection(collection).config.params.vectors
        wanted = "float16" if dtype == "float16" else "float32"
        same = getattr(has, "size", None) == dim and has.distance == models.Distance.DOT
        if not same or (has.datatype or "float32") != wanted:
            raise ValueError(
                f"The collection {collection!r} exists with {has!r:.200}, asked was {dim} "
                f"dimensions of {dtype} scored by Dot. Choose another collection."
            )

    def _existing(self, ids: Sequence[str]) -> set[str]:
        points = [str(point_id(name)) for name in ids]
        found = self._client.retrieve(self._name, points, with_payload=["id"], with_vectors=False)
        return {record.payload["id"] for record in found}

    def _insert(self, rows: Rows) -> None:
        # At the stored precision, which the local mode does not round to.
        vectors = rows.vectors.astype(self.dtype).astype(np.float32)
        points = [
            self._m.PointStruct(
                id=str(point_id(name)), vector=x.tolist(), payload=payload_of(name, text, note)
            )
            for name, text, note, x in zip(
                rows.ids, rows.texts, rows.metadata, vectors, strict=True
            )
        ]
        self._client.upsert(self._name, points, wait=True)

    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        wanted = None
        if filter is not None:
            wanted = self._m.Filter(must=[self._where(condition(filter))])
        found = self._client.query_points(
            self._name,
            query=query.tolist(),
            limit=k,
            query_filter=wanted,
            with_payload=["id"],
            search_params=self._m.SearchParams(exact=self._exact),
        ).points
        ranking = [(point.payload["id"], float(point.score)) for point in found]
        return sorted(ranking, key=lambda one: (-one[1], one[0].encode()))

    def _where(self, node: Condition) -> Any:
        models = self._m
        if isinstance(node, All):
            return models.Filter(must=[self._where(part) for part in node.parts])
        if isinstance(node, AnyOf):
            return models.Filter(should=[self._where(part) for part in node.parts])
        if isinstance(node, Leaf):
            return self._leaf(node)
        return models.Filter(must_not=[self._where(node.part)])

    def _leaf(self, leaf: Leaf) -> Any:
        models, value = self._m, leaf.value
        value = value.item() if isinstance(value, np.generic) else value
        missing = leaf.operator == "eq" and value is None
        if leaf.operator == "exists" or missing:
            match = models.MatchValue(value=leaf.field)
            return models.FieldCondition(key="n" if missing else "k", match=match)
        if '"' in leaf.field or "\\" in leaf.field:
            raise ValueError(f"Qdrant's paths hold no quotes, got the field {leaf.field!r:.80}.")
        key = f'{"l" if leaf.operator == "contains" else "m"}."{leaf.field}"'
        if leaf.operator in ("eq", "contains"):
            if isinstance(value, bool | str):
                match = models.MatchValue(value=plain(value))
                return models.FieldCondition(key=key, match=match)
            if value is None:
                raise ValueError(f"Qdrant cannot look for null in a list ({leaf.field!r}).")
            same = models.Range(gte=float(value), lte=float(value))
            return models.FieldCondition(key=key, range=same)
        if isinstance(value, str):
            raise ValueError(
                f"Qdrant orders numbers only; ${leaf.operator} of {leaf.field!r} has the string "
                f"{value!r:.80}. Store a number (a timestamp) to order by."
            )
        return models.FieldCondition(key=key, range=models.Range(**{leaf.operator: float(value)}))

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
        return carried(ids, self._client.retrieve(self._name, points, with_vectors=True), self.dim)

    def __len__(self) -> int:
        return int(self._client.count(self._name, exact=True).count)

    def close(self) -> None:
        """Close the client."""
        self._client.close()
