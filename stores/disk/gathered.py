"""Rows of several segments, and new ones, in the order of their slots."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores import metric as metrics
from attar.stores.disk.pieces import BLOCK_ROWS, Arrays, Piece
from attar.stores.inputs import row_norms
from attar.stores.protocols import Codec
from attar.stores.snapshot import SLOT, SQNORM, Part
from attar.stores.types import Float32


@dataclass(frozen=True)
class Source:
    """Slots int64 [n], ascending, and where their fields come from: a segment's rows, or arrays."""

    slots: NDArray[np.int64]
    part: Part | None = None
    rows: NDArray[np.int64] | None = None
    arrays: Mapping[str, NDArray[Any]] | None = None

    def take(self, some: NDArray[np.int64]) -> Arrays:
        """Fields of some of the rows."""
        if self.part is None or self.rows is None:
            return {name: array[some] for name, array in (self.arrays or {}).items()}
        rows = self.rows[some]
        names = [f.name for f in self.part.segment.fields if f.name != SLOT]
        return {name: self.part.read(name, rows) for name in names}


def from_parts(parts: Sequence[Part]) -> list[Source]:
    """Live rows of segments."""
    rows = [np.flatnonzero(part.live) for part in parts]
    return [Source(p.slots_of(r), p, r) for p, r in zip(parts, rows, strict=True)]


def from_vectors(slots: NDArray[np.int64], x: Float32, codec: Codec, metric: str) -> Source:
    """New vectors [n d] for ascending slots, encoded; metric "" keeps them raw."""
    norms = row_norms(x)
    codes = codec.encode(metrics.documents(x, metric, codec.norm, norms))
    arrays: dict[str, NDArray[Any]] = dict(codes.fields)
    if metric == "l2":
        arrays[SQNORM] = metrics.sqnorms(x, norms)[:, None]
    return Source(slots, arrays=arrays)


@dataclass(frozen=True)
class Gathered(Piece):
    """Rows of several sources without a slot in common; first..last of them, None means all."""

    sources: Sequence[Source]
    first: int = 0
    last: int | None = None

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Source and row within it, in slot order: int64 [n 2]."""
        slots = np.concatenate([np.zeros(0, np.int64), *(s.slots for s in self.sources)])
        owner = [np.full(len(s.slots), i) for i, s in enumerate(self.sources)]
        row = [np.arange(len(s.slots)) for s in self.sources]
        pairs = np.stack(
            [np.concatenate([np.zeros(0, int), *some]) for some in (owner, row)], axis=1
        )
        return np.asarray(pairs[np.argsort(slots)][self.first : self.last], np.int64)

    @property
    def slots(self) -> NDArray[np.int64]:
        """Slots of the rows, ascending."""
        found = np.zeros(len(self._order), np.int64)
        for index, source in enumerate(self.sources):
            here = self._order[:, 0] == index
            found[here] = source.slots[self._order[here, 1]]
        return found

    def between(self, first: int, last: int) -> "Gathered":
        """Some of the rows, by their place in slot order."""
        return Gathered(self.sources, first, last)

    def blocks(self) -> Iterator[Arrays]:
        """Gather a block at a time."""
        for start in range(0, len(self._order), BLOCK_ROWS):
            order = self._order[start : start + BLOCK_ROWS]
            block: dict[str, NDArray[Any]] = {}
            for index in np.unique(order[:, 0]).tolist():
                here = order[:, 0] == index
                for name, array in self.sources[index].take(order[here, 1]).items():
                    if name not in block:
                        block[name] = np.empty((len(order), *array.shape[1:]), array.dtype)
                    block[name][here] = array
            yield block
