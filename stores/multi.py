"""Documents of several vectors each, scored by MaxSim: images as register tokens, pages as patches.

A document's m vectors are m rows of an ordinary store, "ID#0" … "ID#m-1", added in one commit, so
every codec, segment, checksum, delete and crash rule of the store holds for them. The rows have m
slots in sequence, the first a multiple of m, because only whole documents are added.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attar.stores import inputs
from attar.stores import metric as metrics
from attar.stores.closing import Closing
from attar.stores.disk.library import Library
from attar.stores.kernels.maxsim import best_in_groups, sum_of_best
from attar.stores.protocols import Codec, Recipe
from attar.stores.scan.exact import Found
from attar.stores.scan.fast import scanner
from attar.stores.scan.order import ordered
from attar.stores.search import allowed
from attar.stores.store import Store
from attar.stores.types import Float32, Hits, Query

KEY = "vectors_per_id"


class MultiStore(Closing):
    """A store of documents with m vectors each. Made by `create`; `MultiStore(store)` reopens one.

    score(question, document) = sum over the question's vectors of the best score with one of the
    document's (late interaction, arXiv 2004.12832). Exact: every live document is scored.
    """

    def __init__(self, store: Store) -> None:
        """`store`: opened for reading or writing; it must have been created here."""
        manifest = store.manifest or {}
        if KEY not in manifest:
            raise ValueError(
                f"{store.path} holds one vector per id; make stores of several with "
                "MultiStore.create."
            )
        self.store = store
        self.vectors_per_id = int(manifest[KEY])

    @classmethod
    def create(
        cls,
        path: str | Path,
        codec: Codec | Recipe,
        vectors_per_id: int,
        *,
        manifest: dict[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Make an empty store of `vectors_per_id` vectors per document; options as for `Store`."""
        if vectors_per_id < 1:
            raise ValueError(f"vectors_per_id is at least 1, got {vectors_per_id}.")
        noted = {**(manifest or {}), KEY: vectors_per_id}
        return cls(Store.create(path, codec, manifest=noted, **options))

    def add(
        self,
        ids: Iterable[str],
        vectors: ArrayLike,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add documents [n m d] in one atomic commit; ids that exist are refused."""
        names, m = inputs.check_ids(ids), self.vectors_per_id
        x = np.asarray(vectors)
        if x.ndim != 3 or x.shape[:2] != (len(names), m):
            raise ValueError(
                f"Vectors must be [n m d] = [{len(names)} {m} d] in this store, got "
                f"{list(x.shape)}; encode with {m} vectors per document."
            )
        rows = None if metadata is None else [one for one in metadata for _ in range(m)]
        self.store.add(self._rows(names), x.reshape(len(names) * m, -1), metadata=rows)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents in one atomic commit; returns how many existed."""
        return self.store.delete(self._rows(inputs.check_ids(ids))) // self.vectors_per_id

    def search(
        self,
        vectors: ArrayLike,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threads: int | None = None,
        impl: str = "auto",
    ) -> Hits:
        """The k best documents of one question [q d] or of several with q vectors each [a q d].

        Hits have ids [a k'] and float32 scores [a k'], best first; ties by id. impl, threads and
        filter: as in `Store.search`.
        """
        x = np.asarray(vectors)
        x = x[None] if x.ndim == 2 else x
        if x.ndim != 3 or x.shape[1] < 1:
            raise ValueError(f"A question is [q d], several are [a q d]; got {list(x.shape)}.")
        k, library = inputs.check_k(k), self.store._library
        flat = self.store._queries(x.reshape(-1, x.shape[2]), None)
        asked = np.arange(0, len(flat) + 1, x.shape[1], dtype=np.int64)
        with library.guard:
            slots, best = self._best(library, flat, filter, threads, impl)
            if not len(slots) or not len(x):
                return Hits(np.empty((len(x), 0), object), np.empty((len(x), 0), np.float32))
            found = [Found(slots, one) for one in sum_of_best(best, asked)]
            return ordered(found, k, lambda some: self._names(library, some))

    def __len__(self) -> int:
        return len(self.store) // self.vectors_per_id

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _best(
        self,
        library: Library,
        queries: Float32,
        filter: Mapping[str, Any] | None,
        threads: int | None,
        impl: str,
    ) -> tuple[NDArray[np.int64], Float32]:
        """First slots [g] of the live documents and the best score of every query vector [q g]."""
        snapshot = library.snapshot
        snapshot.check_sizes()
        metric = str(library.meta["metric"])
        prepared: dict[str, Query] = {}
        owners, pieces = [], []
        for part, mask in zip(snapshot.parts, allowed(library, snapshot, filter), strict=True):
            if part.row.codec not in prepared:
                prepared[part.row.codec] = metrics.prepared(queries, metric, part.codec)
            own = part.slots_of(np.arange(part.row.rows)) // self.vectors_per_id
            first = np.flatnonzero(np.diff(own, prepend=-1))
            starts = np.append(first, len(own)).astype(np.int64)
            source, query = scanner(part).source, prepared[part.row.codec]
            owners.append(own[first])
            pieces.append(best_in_groups(source, query, starts, mask, threads, impl))
        documents, place = np.unique(np.concatenate([[], *owners]), return_inverse=True)
        best = np.full((len(queries), len(documents)), -np.inf, np.float32)
        # A document may begin in one segment and end in the next.
        first_of = np.cumsum([0, *(len(one) for one in owners)])
        for piece, start, stop in zip(pieces, first_of[:-1], first_of[1:], strict=True):
            at = place[start:stop]
            best[:, at] = np.maximum(best[:, at], piece)
        live = best[0] > -np.inf if len(queries) else np.zeros(len(documents), bool)
        return documents[live].astype(np.int64) * self.vectors_per_id, best[:, live]

    def _rows(self, names: Sequence[str]) -> list[str]:
        return [f"{name}#{i}" for name in names for i in range(self.vectors_per_id)]

    def _names(self, library: Library, slots: NDArray[np.int64]) -> dict[int, str]:
        return {s: name.rsplit("#", 1)[0] for s, name in library.names(slots).items()}
