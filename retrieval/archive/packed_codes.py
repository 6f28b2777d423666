"""Codes in one range-coded piece of bytes that is read block by block.

    content = pack_codes(codes, codec.layout)
    packed = PackedCodes(content)
    packed.read(4096, 4100)          # decodes one block

Bytes, little endian: magic b"ATTARCOD", version u32, length J u32, JSON of J bytes (zstd), then for
each group of fields its tables (zstd) and its blocks of 4,096 rows. A block is the stream of the
range coder (length u32 before it) and, for numbers of several bytes, the other bytes: a u32 length
each, its highest bit set when they are stored as they are, else zstd.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.archive.byte_planes import HighBytes, joined, low_bytes
from attar.retrieval.archive.columns import (
    Arrays,
    ByteColumns,
    Columns,
    Contexts,
    PlaneColumns,
    TrellisColumns,
)
from attar.retrieval.archive.tables import ColumnDecoder, ColumnEncoder, Histogram, Tables
from attar.stores.layouts.layout import Layout
from attar.stores.layouts.trellis_integers import TrellisIntegers
from attar.stores.layouts.waterfill import Waterfill, coarse_start, fine_start
from attar.stores.types import Codes, Field

MAGIC = b"ATTARCOD"
VERSION = 1
BLOCK = 4096
MOST_BLOCK, MOST_HEAD = 1 << 20, 1 << 28
STORED = 1 << 31
_HEAD = struct.Struct("<8sII")
_LENGTH = struct.Struct("<I")


def pack_codes(codes: Codes, layout: Layout | None = None, rows_per_block: int = BLOCK) -> bytes:
    """Pack the arrays of codes, bit-exact.

    layout: what they mean; without it, or when the arrays are not legal codes of it, every field is
    coded on its own, which is lossless too and less small. Two passes over the arrays: count, code.
    """
    groups = [_checked(group, codes, rows_per_block) for group in _groups(codes, layout)]
    body, entries = [], []
    for group in [part for parts in groups for part in parts]:
        tables = _count(group, codes, rows_per_block)
        blocks = [_encode(group, tables, rows) for rows in _blocks(codes, rows_per_block)]
        dumped = compress(tables.dump())
        entries.append({**_describe(group), "tables": len(dumped), "blocks": [*map(len, blocks)]})
        body += [dumped, *blocks]
    head = {"rows": len(codes), "block": rows_per_block, "groups": entries}
    text = compress(json.dumps(head, sort_keys=True).encode())
    return b"".join([_HEAD.pack(MAGIC, VERSION, len(text)), text, *body])


@dataclass(frozen=True)
class _Group:
    """A group of fields of a packed file, ready to be read."""

    columns: Columns
    tables: Tables
    starts: tuple[int, ...]


class PackedCodes:
    """What `pack_codes` gave. Reading a row decodes its block only."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        if len(content) < _HEAD.size:
            raise ValueError("Packed codes are at least 16 bytes long; the file was cut off.")
        magic, version, length = _HEAD.unpack_from(content)
        if magic != MAGIC or version != VERSION:
            raise ValueError(
                f"Packed codes have magic {MAGIC!r} and version {VERSION}, got {magic!r} and "
                f"{version}; use the release that wrote them."
            )
        self._groups: list[_Group] = []
        try:
            self._read_head(content, length)
        except Exception as error:
            # A header that lies meets many kinds of errors, of json, numpy and the range coder.
            raise ValueError(
                f"Packed codes are damaged: their header is not readable ({error!r:.120}); restore "
                "the archive from a backup."
            ) from error

    def _read_head(self, content: bytes, length: int) -> None:
        head = json.loads(expand(content[_HEAD.size : _HEAD.size + length], MOST_HEAD))
        self.rows = int(head["rows"])
        self.rows_per_block = int(head["block"])
        if not (0 <= self.rows and 1 <= self.rows_per_block <= MOST_BLOCK):
            raise ValueError(f"{self.rows} rows in blocks of {self.rows_per_block}")
        blocks = max(-(-self.rows // self.rows_per_block), 1)
        at = _HEAD.size + length
        for entry in head["groups"]:
            columns = _columns_of(entry)
            dumped = expand(content[at : at + entry["tables"]], MOST_HEAD)
            tables = Tables.load(dumped, columns.count, columns.contexts)
            sizes = [int(size) for size in entry["blocks"]]
            starts = np.cumsum([at + entry["tables"], *sizes])
            if len(sizes) != blocks or min(sizes) < 0 or starts[-1] > len(content):
                raise ValueError(f"{len(sizes)} blocks, which end at {starts[-1]}")
            self._groups.append(_Group(columns, tables, tuple(map(int, starts))))
            at = int(starts[-1])

    def __len__(self) -> int:
        return self.rows

    @property
    def nbytes(self) -> int:
        """All bytes, tables and header inside."""
        return len(self._content)

    @property
    def stream_bytes(self) -> int:
        """Bytes of the blocks: what grows with the rows; tables and header are the rest."""
        return sum(group.starts[-1] - group.starts[0] for group in self._groups)

    def read(self, first: int = 0, last: int | None = None) -> Codes:
        """Rows first … last - 1 as codes."""
        last = self.rows if last is None else min(last, self.rows)
        parts: dict[str, list[NDArray[Any]]] = {}
        blocks = range(first // self.rows_per_block, max(-(-last // self.rows_per_block), 1))
        for block in blocks:
            start = block * self.rows_per_block
            for name, array in self._block(block).items():
                rows = slice(max(first - start, 0), max(last - start, 0))
                parts.setdefault(name, []).append(array[rows])
        joined_parts = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        return Codes({name: np.ascontiguousarray(a) for name, a in joined_parts.items()})

    def _block(self, block: int) -> Arrays:
        rows = min(self.rows_per_block, self.rows - block * self.rows_per_block)
        arrays: Arrays = {}
        for group in self._groups:
            start, end = group.starts[block], group.starts[block + 1]
            arrays |= _decode(group.columns, group.tables, self._content[start:end], rows)
        return arrays


def _groups(codes: Codes, layout: Layout | None) -> list[Columns]:
    """Columns for all fields of the codes."""
    fields = [Field(n, a.dtype.name, a.shape[1]) for n, a in codes.fields.items()]
    groups: list[Columns] = []
    known: tuple[str, ...] = ()
    if isinstance(layout, Waterfill | TrellisIntegers) and not getattr(layout, "dropped", 0):
        own = tuple(f for f in layout.fields if f.name != "factor")
        if all(field in fields for field in own):
            known = tuple(field.name for field in own)
            groups.append(_of_layout(layout, own))
    return groups + [_alone(field) for field in fields if field.name not in known and field.width]


def _of_layout(layout: Waterfill | TrellisIntegers, fields: tuple[Field, ...]) -> Columns:
    if isinstance(layout, Waterfill):
        return PlaneColumns(layout, fields)
    return TrellisColumns(layout, fields)


def _alone(field: Field) -> Columns:
    single = np.dtype(field.dtype).itemsize == 1
    return ByteColumns((field,)) if single else HighBytes((field,))


def _checked(columns: Columns, codes: Codes, block: int) -> list[Columns]:
    """The columns, or those of the single fields when the arrays do not survive them."""
    if isinstance(columns, ByteColumns | HighBytes):
        return [columns]
    for part in _blocks(codes, block):
        merged = columns.merge(columns.split(dict(part.fields)))
        if any(not np.array_equal(merged[f.name], part.fields[f.name]) for f in columns.fields):
            return [_alone(field) for field in columns.fields]
    return [columns]


def _blocks(codes: Codes, rows: int) -> Iterator[Codes]:
    for start in range(0, max(len(codes), 1), rows):
        yield codes[start : start + rows]


def _count(columns: Columns, codes: Codes, block: int) -> Tables:
    histograms = [Histogram(columns.contexts) for _ in range(columns.count)]
    for part in _blocks(codes, block):
        symbols = columns.split(dict(part.fields))
        contexts = Contexts(len(part), columns.taps)
        for j in columns.order:
            histograms[j].add(symbols[j], contexts.next())
            contexts.advance(symbols[j])
    made = [histogram.tables() for histogram in histograms]
    shifts = np.array([shift for shift, _ in made], np.uint8)
    return Tables(shifts, tuple(tables for _, tables in made))


def _encode(columns: Columns, tables: Tables, part: Codes) -> bytes:
    symbols = columns.split(dict(part.fields))
    contexts, coder = Contexts(len(part), columns.taps), ColumnEncoder(tables)
    for j in columns.order:
        coder.put(j, symbols[j], contexts.next())
        contexts.advance(symbols[j])
    stream = coder.finish()
    pieces = [_LENGTH.pack(len(stream)), stream]
    if isinstance(columns, HighBytes):
        field = columns.fields[0]
        for plane in low_bytes(part.fields[field.name], field):
            small = compress(plane)
            stored = len(small) >= len(plane)
            content = plane if stored else small
            pieces += [_LENGTH.pack(len(content) | STORED * stored), content]
    return b"".join(pieces)


def _decode(columns: Columns, tables: Tables, content: bytes, rows: int) -> Arrays:
    pieces = _pieces(content)
    coder = ColumnDecoder(tables, pieces[0])
    symbols = np.empty((columns.count, rows), np.int32)
    contexts = Contexts(rows, columns.taps)
    for j in columns.order:
        symbols[j] = coder.take(j, contexts.next())
        contexts.advance(symbols[j])
    arrays = columns.merge(symbols)
    if isinstance(columns, HighBytes):
        field = columns.fields[0]
        arrays[field.name] = joined(arrays[field.name], pieces[1:], field)
    return arrays


def _pieces(content: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        size = length & (STORED - 1)
        piece = content[at : at + size]
        pieces.append(piece if length & STORED or not pieces else expand(piece))
        at += size
    return pieces


def _describe(columns: Columns) -> dict[str, Any]:
    kind: dict[str, Any] = {"kind": type(columns).__name__}
    kind["fields"] = [[f.name, f.dtype, f.width] for f in columns.fields]
    if isinstance(columns, PlaneColumns):
        kind |= {"counts": columns.layout.counts, "taps": columns.layout.taps}
    if isinstance(columns, TrellisColumns):
        layout = columns.layout
        kind |= {"width": layout.width, "wide": layout.wide, "taps": layout.taps}
    return kind


def _columns_of(entry: dict[str, Any]) -> Columns:
    fields = tuple(Field(*field) for field in entry["fields"])
    if entry["kind"] == "ByteColumns":
        return ByteColumns(fields)
    if entry["kind"] == "HighBytes":
        return HighBytes(fields)
    high, low = entry["taps"]
    if entry["kind"] == "TrellisColumns":
        layout = TrellisIntegers(entry["width"], entry["wide"], (high, low))
        return TrellisColumns(layout, fields)
    return PlaneColumns(_bare_layout(entry["counts"], (high, low)), fields)


def _bare_layout(counts: Sequence[int], taps: tuple[int, int]) -> Waterfill:
    """A layout that knows where bits are and not what they mean."""
    widest = len(counts)
    fine = np.zeros(fine_start(widest + 1), np.float32)
    coarse = np.zeros(coarse_start(widest + 1), np.float32)
    return Waterfill(tuple(counts), fine, coarse, taps)


def compress(content: bytes) -> bytes:
    """Zstandard with a checksum."""
    import zstandard

    return zstandard.ZstdCompressor(level=12, write_checksum=True).compress(content)


def expand(content: bytes, most: int = 1 << 40) -> bytes:
    """The bytes again; ValueError when they are damaged, or more than `most`."""
    import zstandard

    try:
        size = zstandard.frame_content_size(content)
        if not 0 <= size <= most:
            raise ValueError(f"The archive is damaged: {size} bytes where {most} fit at most.")
        return zstandard.ZstdDecompressor().decompress(content)
    except zstandard.ZstdError as error:
        raise ValueError(f"The archive is damaged: {error}; restore it from a backup.") from error
