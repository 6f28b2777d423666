"""What new segments are made of: rows of old ones, re-encoded ones, new documents."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores import metric as metrics
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.segment import SegmentWriter
from attar.stores.inputs import row_norms
from attar.stores.protocols import Codec
from attar.stores.snapshot import SLOT, SQNORM, Part
from attar.stores.types import Field, Float32

Arrays = Mapping[str, NDArray[Any]]
BLOCK_ROWS = 2048
"""At 768 dimensions a block of float32 is 6 MiB, which the allocator keeps and a cache holds."""


class Piece(ABC):
    """Some rows of a segment to be: their slots, ascending, and their fields block by block."""

    @property
    @abstractmethod
    def slots(self) -> NDArray[np.int64]:
        """Slots of the rows."""

    @abstractmethod
    def blocks(self) -> Iterator[Arrays]:
        """The rows, every field of the segment in each block."""


@dataclass(frozen=True)
class Kept(Piece):
    """Live rows of an old segment as they are; `keep` is bool [rows]."""

    part: Part
    keep: NDArray[np.bool_]

    @property
    def slots(self) -> NDArray[np.int64]:
        """Slots of the rows that stay."""
        return self.part.slots_of(np.flatnonzero(self.keep))

    def blocks(self) -> Iterator[Arrays]:
        """Bytes of the old file."""
        names = [f.name for f in self.part.segment.fields if f.name != SLOT]
        for rows in _row_blocks(self.keep):
            yield {name: self.part.read(name, rows) for name in names}


@dataclass(frozen=True)
class Recoded(Piece):
    """Rows of an old segment under another codec, from its codes."""

    part: Part
    keep: NDArray[np.bool_]
    codec: Codec
    metric: str

    @property
    def slots(self) -> NDArray[np.int64]:
        """Slots of the rows that stay."""
        return self.part.slots_of(np.flatnonzero(self.keep))

    def blocks(self) -> Iterator[Arrays]:
        """Decode, scale, encode; squared norms of an l2 store stay those of the documents."""
        for rows in _row_blocks(self.keep):
            x = self.part.decoded(rows)
            codes = self.codec.encode(_rescaled(x, self.metric, self.codec.norm))
            arrays: dict[str, NDArray[Any]] = dict(codes.fields)
            sqnorm = self.part.sqnorm(rows)
            yield arrays if sqnorm is None else arrays | {SQNORM: sqnorm[:, None]}


@dataclass(frozen=True)
class FromOriginals(Piece):
    """Codes made again from kept originals; `part` holds the originals."""

    part: Part
    keep: NDArray[np.bool_]
    codec: Codec
    metric: str

    @property
    def slots(self) -> NDArray[np.int64]:
        """Slots of the rows that stay."""
        return self.part.slots_of(np.flatnonzero(self.keep))

    def blocks(self) -> Iterator[Arrays]:
        """As for new documents."""
        for rows in _row_blocks(self.keep):
            x = self.part.decoded(rows)
            yield _encoded(x, self.codec, self.metric, row_norms(x))


def _rescaled(x: Float32, metric: str, norm: float) -> Float32:
    """As for new documents; what a coarse code decoded to zero stays zero."""
    if metric != "cosine":
        return x
    result = np.zeros_like(x)
    some = x.any(axis=1)
    result[some] = metrics.documents(x[some], metric, norm)
    return result


@dataclass(frozen=True)
class Fresh(Piece):
    """New documents float32 [n d], checked. `metric` "" stores them raw."""

    vectors: Float32
    norms: NDArray[np.float64]
    first_slot: int
    codec: Codec
    metric: str

    @property
    def slots(self) -> NDArray[np.int64]:
        """Consecutive slots."""
        return self.first_slot + np.arange(len(self.vectors))

    def blocks(self) -> Iterator[Arrays]:
        """Scale and encode, one block in memory at a time."""
        for start in range(0, len(self.vectors), BLOCK_ROWS):
            x = np.asarray(self.vectors[start : start + BLOCK_ROWS])
            norms = self.norms[start : start + BLOCK_ROWS]
            yield _encoded(x, self.codec, self.metric, norms)


def _encoded(x: Float32, codec: Codec, metric: str, norms: NDArray[np.float64]) -> Arrays:
    codes = codec.encode(metrics.documents(x, metric, codec.norm, norms))
    arrays: dict[str, NDArray[Any]] = dict(codes.fields)
    return arrays if metric != "l2" else arrays | {SQNORM: metrics.sqnorms(x, norms)[:, None]}


def _row_blocks(keep: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    rows = np.flatnonzero(keep)
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


@dataclass(frozen=True)
class Target:
    """Which segment to write: its kind, the fields of its layout, its codec, its fingerprint."""

    kind: str
    fields: tuple[Field, ...]
    codec_hash: str
    fingerprint: str
    sqnorm: bool


def write_pieces(path: Path, target: Target, pieces: Sequence[Piece]) -> SegmentRow:
    """Write one segment file, durable but for its name in the folder."""
    slots = np.concatenate([piece.slots for piece in pieces])
    first, last, rows = int(slots[0]), int(slots[-1]), len(slots)
    fields = list(target.fields)
    if target.sqnorm:
        fields.append(Field(SQNORM, "float32", 1))
    dense = last - first + 1 == rows
    if not dense:
        fields.append(Field(SLOT, "uint32" if last - first < 2**32 else "uint64", 1))
    writer = SegmentWriter(path, target.kind, rows, fields)
    try:
        at = 0
        for piece in pieces:
            for arrays in piece.blocks():
                n = len(next(iter(arrays.values())))
                here = {SLOT: (slots[at : at + n] - first)[:, None]}
                writer.append(arrays if dense else {**arrays, **here})
                at += n
        done = writer.finish()
    except BaseException:
        writer.discard()
        raise
    return SegmentRow(
        target.kind,
        done.file,
        first,
        last,
        rows,
        target.codec_hash,
        target.fingerprint,
        done.nbytes,
        done.header_crc,
    )
