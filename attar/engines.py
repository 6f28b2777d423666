"""A store served from an engine that already runs: reduced vectors there, full codes beside them.

    make = lambda dim, dtype: PgVectorEngine(dsn, "docs", dim, dtype)
    served = Served.push(store, make, keep=0.98)
    hits = served.search(q, k=10, filter={"year": {"$gte": 2020}})

1. `attar.projection` chooses what is pushed: the fewest bytes that keep the share `keep` of the
   store's own top ten.
2. With `refine` every document carries its codes; the engine gives refine * k candidates, which are
   scored as the store scores them.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attar.projection import Projection, project, same
from attar.stores import metric as metrics
from attar.stores import score
from attar.stores.engines.engine import Engine
from attar.stores.engines.qdrant_points import CODES
from attar.stores.inputs import check_k, check_queries
from attar.stores.protocols import Codec
from attar.stores.reading import StoreReading
from attar.stores.shards.merge import merge
from attar.stores.transfer.rows import Rows, rows_of
from attar.stores.types import Codes, Float32, Hits


class Served:
    """An engine and what turns queries into the ones it is asked.

    refine: candidates per hit that are scored by their codes; 0 takes the engine's own scores.
    """

    def __init__(
        self, engine: Engine, projection: Projection, codec: Codec, metric: str, refine: int = 0
    ) -> None:
        self.engine, self.projection = engine, projection
        self._codec, self._metric, self._refine = codec, metric, refine

    @classmethod
    def push(
        cls,
        store: StoreReading,
        make: Callable[[int, str], Engine],
        keep: float = 0.98,
        refine: int = 0,
        *,
        types: Sequence[str] = ("float16",),
        projection: Projection | None = None,
    ) -> "Served":
        """Send a store to the engine that `make(dimensions, dtype)` opens; called again it goes on.

        types: those to choose from, such as `QdrantEngine.TYPES`. projection: that of an earlier
        push (`served.projection`, kept by `dump`), for a store that has grown since; None chooses
        one. Metadata may not have the field `attar.codes`, which holds the codes where refine is
        set. Raises ValueError when the engine holds vectors of another projection or codes of
        another codec.
        """
        if refine < 0:
            raise ValueError(f"refine is a number of candidates per hit, or 0; got {refine}.")
        if projection is None:
            projection = project(store, keep, types)
        if len(projection.mean) != store.dim:
            raise ValueError(
                f"The projection is of {len(projection.mean)} dimensions, the store has "
                f"{store.dim}; leave projection= out."
            )
        engine = make(projection.dim, projection.dtype)
        try:
            mark = projection.mark(store.codec.dump() if refine else None)
            if not same(engine.claim(mark), mark):
                raise ValueError(
                    "The collection exists with another projection or codec. Choose another "
                    "collection, or, if the store has grown since, pass projection= of that push."
                )
            engine.push(_reduced(store, projection, refine > 0))
        except BaseException:
            engine.close()
            raise
        return cls(engine, projection, store.codec, store.metric, refine)

    def search(
        self, vector: ArrayLike, k: int = 10, *, filter: Mapping[str, Any] | None = None
    ) -> Hits:
        """The k best documents per query [d] or [m d], with the store's scores."""
        k, dim = check_k(k), self._codec.dim
        q = check_queries(np.asarray(vector), dim, self._metric == "cosine")
        scaled = q
        if self._metric == "cosine":
            length = np.linalg.norm(q, axis=1, keepdims=True)
            scaled = np.asarray(q / (length * self._codec.norm), np.float32)
        asked = scaled @ self.projection.basis
        if self._refine:
            rows = [self._refined(q[row : row + 1], z, k, filter) for row, z in enumerate(asked)]
            return _stacked(rows)
        hits = self.engine.search(asked, k, filter=filter)
        const = (scaled @ self.projection.mean)[:, None]
        return Hits(hits.ids, np.asarray(hits.scores / self.projection.gain + const, np.float32))

    def _refined(self, q: Float32, z: Float32, k: int, filter: Mapping[str, Any] | None) -> Hits:
        """One query: the engine's candidates, scored by their codes."""
        found = self.engine.search(z, k * self._refine, filter=filter).ids[0]
        rows = self.engine.get([name for name in found if name is not None])
        packed = [base64.b64decode((note or {})[CODES]) for note in rows.metadata]
        codes = _unpacked(packed, self._codec)
        query = metrics.prepared(q, self._metric, self._codec)
        levels = self._codec.layout.unpack(codes)
        scores = score.scores(query.coords[0], query.const[0], levels)
        one = Hits(np.array([rows.ids], object), scores[None])
        return merge([one], k)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def _reduced(store: StoreReading, projection: Projection, refine: bool) -> Iterator[Rows]:
    for rows in rows_of(store, False):
        notes = rows.metadata
        if refine:
            packed = _packed(store.codes(rows.ids))
            for name, note in zip(rows.ids, notes, strict=True):
                if CODES in (note or {}):
                    raise ValueError(f"{CODES!r} is the field of codes; id {name!r:.80} has one.")
            notes = [
                {**(note or {}), CODES: base64.b64encode(code).decode()}
                for note, code in zip(notes, packed, strict=True)
            ]
        yield Rows(rows.ids, projection.documents(rows.vectors), rows.texts, notes)


def _packed(codes: Codes) -> list[bytes]:
    """Bytes of each document's codes, field after field."""
    columns = [
        np.ascontiguousarray(array).reshape(len(codes), -1).view(np.uint8)
        for array in codes.fields.values()
    ]
    return [row.tobytes() for row in np.concatenate(columns, axis=1)]


def _unpacked(packed: list[bytes], codec: Codec) -> Codes:
    """The inverse of `_packed`."""
    width = sum(field.bytes_per_vector for field in codec.layout.fields)
    table = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), width)
    fields, at = {}, 0
    for field in codec.layout.fields:
        end = at + field.bytes_per_vector
        column = np.ascontiguousarray(table[:, at:end])
        array = column.view(field.dtype).reshape(len(packed), field.width)
        fields[field.name] = array
        at = end
    return Codes(fields)


def _stacked(rows: list[Hits]) -> Hits:
    width = max((one.ids.shape[1] for one in rows), default=0)
    ids = np.full((len(rows), width), None, object)
    scores = np.full((len(rows), width), -np.inf, np.float32)
    for q, one in enumerate(rows):
        ids[q, : one.ids.shape[1]], scores[q, : one.ids.shape[1]] = one.ids[0], one.scores[0]
    return Hits(ids, scores)
