"""What every engine does, and the checks that come before anything is sent."""

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from attar.stores import inputs
from attar.stores.filters.dialect import check_filter
from attar.stores.transfer.rows import Rows
from attar.stores.types import Float32, Hits

GREATEST_FLOAT16 = 65504.0
BYTES = {"turbo4": 0.5, "uint8": 1, "turbo8": 1, "float16": 2, "turbo16": 2, "float32": 4}
"""Of a coordinate, by the type in which an engine keeps it."""


class Engine(ABC):
    """One collection of an engine, scored by inner product; a context manager closes it.

    Laws: what is pushed is pulled again (vectors as `dtype` rounds them); pushing again changes
    nothing; `search` without an index is the exact top-k of what is stored, ties by id.
    """

    TYPES: ClassVar[tuple[str, ...]] = ("float16", "float32")
    """What it can store, smallest first."""
    dim: int
    dtype: str

    def claim(self, mark: str) -> str:
        """Say what the vectors are, by a short text that stays with the collection; return it.

        A collection that has a mark keeps it, and that one is returned. Raises ValueError when
        there are documents and no mark: nobody knows what their vectors are.
        """
        has = self._read_mark()
        if has is not None:
            return has
        if len(self):
            raise ValueError(
                f"The collection has {len(self)} documents and no mark of what their vectors are. "
                "Choose another collection, or delete them."
            )
        self._write_mark(mark)
        return mark

    def push(self, batches: Iterable[Rows]) -> int:
        """Send documents, a batch a commit; returns how many were new.

        Ids that are there already are left as they are, so that a push that was interrupted goes
        on where it stopped when it is called again with the same batches.
        Raises ValueError before a batch is sent that the engine cannot hold.
        """
        count = 0
        for rows in batches:
            checked = self._checked(rows)
            there = self._existing(checked.ids)
            fresh = [at for at, name in enumerate(checked.ids) if name not in there]
            if fresh:
                self._insert(_take(checked, fresh))
            count += len(fresh)
        return count

    def search(
        self, vector: ArrayLike, k: int = 10, *, filter: Mapping[str, Any] | None = None
    ) -> Hits:
        """The k best documents per query [e] or [m e]: ids and inner products, best first.

        filter: the dialect of `Store.search`; what the engine cannot say is a ValueError that
        names the operator, never a filter applied afterwards.
        """
        k = inputs.check_k(k)
        if filter is not None:
            check_filter(filter)
        queries = inputs.check_queries(np.asarray(vector), self.dim, False)
        found = [self._ask(query, k, filter) for query in queries]
        width = max((len(one) for one in found), default=0)
        ids = np.full((len(found), width), None, object)
        scores = np.full((len(found), width), -np.inf, np.float32)
        for row, ranking in enumerate(found):
            for column, (name, score) in enumerate(ranking):
                ids[row, column], scores[row, column] = name, score
        return Hits(ids, scores)

    def _checked(self, rows: Rows) -> Rows:
        batch = inputs.check_batch(rows.ids, rows.texts, rows.metadata)
        x = inputs.as_vectors(rows.vectors)
        inputs.check_vectors(x, batch.ids, self.dim, False)
        if self.dtype == "float16" and len(x) and np.abs(x).max() > GREATEST_FLOAT16:
            row = int(np.abs(x).max(axis=1).argmax())
            raise ValueError(
                f"float16 holds values up to {GREATEST_FLOAT16:g}; id {batch.ids[row]!r:.80} has "
                f"{np.abs(x[row]).max():g}. Scale the vectors, or use dtype='float32'."
            )
        notes = [None if m is None else json.loads(m) for m in batch.metadata]
        return Rows(batch.ids, x, batch.texts, notes)

    @abstractmethod
    def _existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are there."""

    @abstractmethod
    def _insert(self, rows: Rows) -> None:
        """Send checked documents that are not there, in one commit."""

    @abstractmethod
    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        """Ids and scores for one query [e], best first."""

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; unknown ids are no error."""

    @abstractmethod
    def get(self, ids: Sequence[str]) -> Rows:
        """Documents by id, in the order of `ids`; those that do not exist are left out."""

    @abstractmethod
    def pull(self) -> Iterator[Rows]:
        """All documents, sorted by id, to be put into a store again."""

    @abstractmethod
    def _read_mark(self) -> str | None:
        """The text that `_write_mark` put beside the collection."""

    @abstractmethod
    def _write_mark(self, mark: str) -> None: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def close(self) -> None:
        """Let the engine go."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_dtype(dtype: str, known: Sequence[str]) -> str:
    """One of the types that an engine stores."""
    if dtype not in known:
        raise ValueError(f"dtype is one of {', '.join(known)}; got {dtype!r}.")
    return dtype


def need(module: str, package: str) -> Any:
    """Import a client library; without it the error names the command."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"This engine needs {package}. Install it with: pip install '{package}'.",
            name=error.name,
        ) from error


def in_order(ids: Sequence[str], found: Mapping[str, tuple[Any, Any, Any]], dim: int) -> Rows:
    """Rows of what was found, id -> (vector, text, metadata), in the order of `ids`."""
    names = [name for name in ids if name in found]
    some = [found[name] for name in names]
    vectors = np.array([one[0] for one in some], np.float32).reshape(-1, dim)
    return Rows(names, vectors, [one[1] for one in some], [one[2] for one in some])


def _take(rows: Rows, places: list[int]) -> Rows:
    return Rows(
        [rows.ids[i] for i in places],
        rows.vectors[places],
        [rows.texts[i] for i in places],
        [rows.metadata[i] for i in places],
    )
