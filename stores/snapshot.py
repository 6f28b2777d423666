"""What a store holds at one commit: mapped segments, codecs and which slots are live."""

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.segment import Segment
from attar.stores.errors import CorruptStoreError
from attar.stores.protocols import Codec
from attar.stores.types import Codes, Float32

SLOT = "store.slot"
SQNORM = "store.sqnorm"


@dataclass(frozen=True)
class Part:
    """One segment of codes: physical rows 0..rows-1, each with a slot that never changes.

    live is bool [rows]. slots is None when the row r has the slot first_row + r.
    """

    row: SegmentRow
    segment: Segment
    codec: Codec
    live: NDArray[np.bool_]
    slots: NDArray[np.int64] | None = field(repr=False)

    def slots_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots of physical rows."""
        return self.row.first_row + rows if self.slots is None else self.slots[rows]

    def rows_of(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Physical rows of slots; a slot that is not in the file gives -1."""
        if self.slots is None:
            rows = slots - self.row.first_row
            return np.where((rows >= 0) & (rows < self.row.rows), rows, -1)
        rows = np.minimum(np.searchsorted(self.slots, slots), len(self.slots) - 1)
        return np.where(self.slots[rows] == slots, rows, -1)

    def codes(self, rows: slice | NDArray[np.int64]) -> Codes:
        """Codes of a range of physical rows (views) or of single ones (copies)."""
        return Codes({f.name: self.read(f.name, rows) for f in self.codec.layout.fields})

    def sqnorm(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Squared norms of an l2 store [n], None in others."""
        if all(f.name != SQNORM for f in self.segment.fields):
            return None
        return np.asarray(self.read(SQNORM, rows)[:, 0], np.float32)

    def read(self, name: str, rows: slice | NDArray[np.int64]) -> NDArray[np.generic]:
        """One field of the given physical rows."""
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self.row.rows)
            return self.segment.array(name, first, max(first, last))
        return self.segment.take(name, rows)

    def decoded(self, rows: slice | NDArray[np.int64]) -> Float32:
        """Vectors [n d] as the codec gives them back."""
        return self.codec.decode(self.codes(rows))


@dataclass(frozen=True)
class Snapshot:
    """Everything of one commit that is not in the catalog's document table."""

    counter: int
    parts: tuple[Part, ...]
    originals: tuple[Part, ...]
    next: tuple[Part, ...] = ()
    next_originals: tuple[Part, ...] = ()

    @property
    def everything(self) -> tuple[Part, ...]:
        """All parts, those of an upgrade included."""
        return (*self.parts, *self.originals, *self.next, *self.next_originals)

    @property
    def live(self) -> int:
        """Live documents."""
        return sum(int(part.live.sum()) for part in self.parts)

    def check_sizes(self) -> None:
        """Refuse to read a map whose file was cut meanwhile."""
        for part in self.parts:
            part.segment.check_size()

    def locate(
        self, slots: NDArray[np.int64], parts: tuple[Part, ...] | None = None
    ) -> Iterator[tuple[Part, NDArray[np.int64], NDArray[np.int64]]]:
        """For each part that holds some of the slots: it, their positions, their physical rows."""
        chosen = self.parts if parts is None else parts
        firsts = [part.row.first_row for part in chosen]
        owner = np.searchsorted(np.array(firsts, np.int64), slots, side="right") - 1
        for index in np.unique(owner):
            if index < 0:
                continue
            where = np.flatnonzero(owner == index)
            rows = chosen[index].rows_of(slots[where])
            if (rows >= 0).any():
                yield chosen[index], where[rows >= 0], rows[rows >= 0]

    def codes(self, slots: NDArray[np.int64]) -> Codes:
        """Codes of live slots, all of one codec."""
        if len({part.row.codec for part in self.parts}) != 1:
            raise ValueError("This store holds codes of several codecs; finish Store.reencode.")
        fields: dict[str, NDArray[np.generic]] = {}
        for part, where, rows in self.locate(slots):
            for name, array in part.codes(rows).fields.items():
                whole = fields.setdefault(
                    name, np.zeros((len(slots), *array.shape[1:]), array.dtype)
                )
                whole[where] = array
        return Codes(fields)

    def vectors(self, slots: NDArray[np.int64], dim: int, originals: bool = False) -> Float32:
        """Vectors [n d] of live slots: decoded, or the kept originals."""
        result = np.empty((len(slots), dim), np.float32)
        found = np.zeros(len(slots), bool)
        for part, where, rows in self.locate(slots, self.originals if originals else None):
            result[where] = part.decoded(rows)
            found[where] = True
        if not found.all():
            raise CorruptStoreError(
                f"Every document has a vector; slot {slots[np.argmin(found)]} has none. Run "
                "Store.verify, then Store.repair."
            )
        return result


def map_parts(
    rows: list[SegmentRow],
    folder: Path,
    codec_of: Callable[[str], Codec],
    tombstones: NDArray[np.int64],
    known: dict[str, Segment],
) -> tuple[Part, ...]:
    """Map the registered files; `known` are segments already mapped, by file name."""
    parts = []
    for row in rows:
        segment = known.get(row.file) or Segment(folder / row.file, row.nbytes, row.header_crc)
        if segment.rows != row.rows or segment.kind != row.kind:
            raise CorruptStoreError(
                f"{segment.path} holds {segment.rows} rows of {segment.kind}, the catalog says "
                f"{row.rows} of {row.kind}. Restore a backup."
            )
        parts.append(_part(row, segment, codec_of(row.codec), tombstones))
    return tuple(parts)


def among(parts: tuple[Part, ...], slots: NDArray[np.int64]) -> tuple[Part, ...]:
    """The same parts, alive only where `slots` says so: documents may go while two models stay."""
    return tuple(
        replace(part, live=np.isin(part.slots_of(np.arange(part.row.rows)), slots))
        for part in parts
    )


def _part(row: SegmentRow, segment: Segment, codec: Codec, tombstones: NDArray[np.int64]) -> Part:
    slots = None
    if not row.dense:
        slots = row.first_row + segment.array(SLOT)[:, 0].astype(np.int64)
    first = bisect.bisect_left(tombstones, row.first_row)
    last = bisect.bisect_right(tombstones, row.last_row)
    live = np.ones(row.rows, bool)
    part = Part(row, segment, codec, live, slots)
    dead = part.rows_of(tombstones[first:last])
    live[dead[dead >= 0]] = False
    return part
