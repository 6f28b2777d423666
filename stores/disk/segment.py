"""Immutable files of raw arrays: written once, checksummed per MiB, read through a memory map.

Bytes of a segment, little endian:

    0   magic b"ATTARSEG"
    8   format version u32
    12  length J of the JSON u32
    16  number T of checksums u32
    20  JSON, J bytes: {"kind", "rows", "fields": [{"name", "dtype", "width", "offset", "nbytes"}]}
    20 + J  crc32 u32 x T: for each field in order, one per MiB of the field, the last one shorter
    the fields, each at a multiple of 64, zeros between them; the file ends with the last field

Everything before the first field is covered by one more crc32, which the catalog keeps. A field's
offset is counted from the start of the file.
"""

import contextlib
import json
import os
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.mapping import map_file
from attar.stores.disk.residency import MOST, read_at_random, release
from attar.stores.errors import CorruptStoreError, NotAStoreError
from attar.stores.types import Field

MAGIC = b"ATTARSEG"
VERSION = 1
BLOCK = 1 << 20
ALIGN = 64
SMALL = 16
"""A field of less than one part in so many of a segment's room is read through its map."""
_PREFIX = struct.Struct("<8sIII")
# Numbers only: an object array would let bytes become pointers.
_DTYPE = re.compile(r"(u?int|float)(8|16|32|64)")


@dataclass(frozen=True)
class Place:
    """Where one field lies in the file, and which of the checksums are its own."""

    field: Field
    offset: int
    nbytes: int
    first_block: int

    @property
    def blocks(self) -> int:
        """Checksummed blocks of this field: ceil(nbytes / MiB)."""
        return -(-self.nbytes // BLOCK)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN


def _arrange(rows: int, fields: Sequence[Field], start: int) -> list[Place]:
    places, offset, block = [], _aligned(start), 0
    for field in fields:
        place = Place(field, offset, rows * field.bytes_per_vector, block)
        places.append(place)
        offset, block = _aligned(place.offset + place.nbytes), block + place.blocks
    return places


def _header(kind: str, rows: int, places: Sequence[Place]) -> bytes:
    entries = [
        {
            "name": p.field.name,
            "dtype": p.field.dtype,
            "width": p.field.width,
            "offset": p.offset,
            "nbytes": p.nbytes,
        }
        for p in places
    ]
    return json.dumps({"kind": kind, "rows": rows, "fields": entries}).encode()


def _plan(kind: str, rows: int, fields: Sequence[Field]) -> tuple[bytes, list[Place]]:
    """JSON and places; offsets depend on the JSON's length and the other way round."""
    blocks = sum(-(-rows * f.bytes_per_vector // BLOCK) for f in fields)
    text = b""
    while True:
        start = _PREFIX.size + len(text) + 4 * blocks
        places = _arrange(rows, fields, start)
        again = _header(kind, rows, places)
        if len(again) <= len(text):
            return again.ljust(len(text)), places
        text = again


@dataclass(frozen=True)
class Written:
    """What the catalog has to know about a finished file."""

    file: str
    nbytes: int
    header_crc: int


class SegmentWriter:
    """Streams `rows` rows of the given fields into a new file, block by block."""

    def __init__(self, path: Path, kind: str, rows: int, fields: Sequence[Field]) -> None:
        self.path = path
        self._rows = rows
        self._text, self._places = _plan(kind, rows, fields)
        self._crcs: list[list[int]] = [[] for _ in fields]
        self._open_crc = [0] * len(fields)
        self._filled = [0] * len(fields)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def append(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Write the next rows; every field gets the same number of them."""
        for index, place in enumerate(self._places):
            form = np.dtype(place.field.dtype).newbyteorder("<")
            array = np.ascontiguousarray(arrays[place.field.name], form)
            self._write(index, memoryview(array.tobytes()))

    def _write(self, index: int, content: memoryview) -> None:
        place, at = self._places[index], self._filled[index]
        if at + len(content) > place.nbytes:
            raise ValueError(f"{self.path.name} was planned for {self._rows} rows, got more.")
        _pwrite_all(self._fd, content, place.offset + at)
        while content:
            room = BLOCK - self._filled[index] % BLOCK
            part, content = content[:room], content[room:]
            self._open_crc[index] = zlib.crc32(part, self._open_crc[index])
            self._filled[index] += len(part)
            if self._filled[index] % BLOCK == 0:
                self._end_block(index)

    def _end_block(self, index: int) -> None:
        self._crcs[index].append(self._open_crc[index])
        self._open_crc[index] = 0

    def finish(self) -> Written:
        """Write the header, make the file durable (its name: see `fsync_folder`), close it."""
        for index, place in enumerate(self._places):
            if self._filled[index] != place.nbytes:
                raise ValueError(f"{self.path.name} was planned for {self._rows} rows, got fewer.")
            if place.nbytes % BLOCK:
                self._end_block(index)
        table = np.array([crc for crcs in self._crcs for crc in crcs], "<u4")
        head = _PREFIX.pack(MAGIC, VERSION, len(self._text), len(table))
        head += self._text + table.tobytes()
        head = head.ljust(_data_start(head), b"\0")
        _pwrite_all(self._fd, memoryview(head), 0)
        os.fsync(self._fd)
        nbytes = os.fstat(self._fd).st_size
        self.close()
        return Written(self.path.name, nbytes, zlib.crc32(head))

    def close(self) -> None:
        """Close the file; without `finish` it stays an orphan, which `discard` removes."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)


def _data_start(head: bytes) -> int:
    return _aligned(len(head))


def _pwrite_all(fd: int, content: memoryview, offset: int) -> None:
    """Write everything: the kernel may take only a part of a large buffer at a time."""
    while content:
        done = os.pwrite(fd, content, offset)
        content, offset = content[done:], offset + done


class Segment:
    """A mapped segment: arrays by field, each MiB compared with its checksum at first touch.

    room: bytes of it that may stay in memory; None leaves that to the system.
    """

    def __init__(self, path: Path, nbytes: int, header_crc: int) -> None:
        self.path = path
        self.nbytes = nbytes
        self.room: int | None = None
        try:
            self._compare_size()
            self._map = map_file(path, nbytes)
        except FileNotFoundError:
            raise CorruptStoreError(f"{path} is registered but missing. {_REMEDY}") from None
        text, table, start = self._read_header(header_crc)
        self.kind = str(text.get("kind"))
        self.rows = self._whole(text.get("rows"))
        self._crcs = table
        self._seen = np.zeros(len(table), bool)
        self._places = self._read_places(text, start)

    def limit(self, room: int) -> None:
        """Keep at most about `room` bytes of this map in memory; who reads calls `release`."""
        self.room = room
        read_at_random(self._map)

    def release(self) -> None:
        """Let go of what was read of a map that is limited."""
        if self.room is not None:
            release(self._map)

    def check_size(self) -> None:
        """As at opening; a file that a newer commit replaced keeps its bytes and passes."""
        with contextlib.suppress(FileNotFoundError):
            self._compare_size()

    def _compare_size(self) -> None:
        """Refuse a size that is not the committed one; a shrunken map would kill us.

        One look at the file, so that a writer cannot remove it between two.
        """
        size = self.path.stat().st_size
        if size != self.nbytes:
            raise self._damaged(f"{size} bytes instead of {self.nbytes}")

    def _damaged(self, got: str) -> CorruptStoreError:
        return CorruptStoreError(f"{self.path} is not what was committed: {got}. {_REMEDY}")

    def _whole(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._damaged(f"it claims {value!r:.40} rows")
        return value

    def _read_header(self, header_crc: int) -> tuple[dict[str, Any], NDArray[np.uint32], int]:
        if self.nbytes < _PREFIX.size:
            raise self._damaged("no room for a header")
        magic, version, length, blocks = _PREFIX.unpack(self._map[: _PREFIX.size].tobytes())
        end = _PREFIX.size + length + 4 * blocks
        head = self._map[: _aligned(end)].tobytes()
        if zlib.crc32(head) != header_crc:
            raise self._damaged("its header has another checksum")
        if magic != MAGIC or version != VERSION:
            raise NotAStoreError(
                f"{self.path} has magic {magic!r} and version {version}; this release reads "
                f"{MAGIC!r} version {VERSION}. Use the release that wrote it."
            )
        if end > len(self._map):
            raise self._damaged("its header is longer than the file")
        try:
            text = json.loads(head[_PREFIX.size : _PREFIX.size + length])
            if not isinstance(text, dict):
                raise TypeError("no JSON object")
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(f"its header is not readable ({error})") from None
        table = np.frombuffer(head[_PREFIX.size + length : end], "<u4").astype(np.uint32)
        return text, table, _aligned(end)

    def _read_places(self, text: dict[str, Any], start: int) -> dict[str, Place]:
        try:
            return self._checked_places(text, start)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._damaged(f"its fields are not readable ({error!r:.80})") from None

    def _checked_places(self, text: dict[str, Any], start: int) -> dict[str, Place]:
        places, block = {}, 0
        for entry in text["fields"]:
            field = Field(str(entry["name"]), str(entry["dtype"]), int(entry["width"]))
            if not _DTYPE.fullmatch(field.dtype) or field.width < 0 or self.rows < 0:
                raise ValueError(f"{field.dtype} x {field.width}")
            place = Place(field, int(entry["offset"]), int(entry["nbytes"]), block)
            inside = start <= place.offset and place.offset + place.nbytes <= self.nbytes
            if not inside or place.nbytes != self.rows * field.bytes_per_vector:
                raise self._damaged(f"field {field.name!r} lies outside the file")
            places[field.name] = place
            block += place.blocks
        if block != len(self._crcs):
            raise self._damaged("another number of checksums than blocks")
        return places

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields in the order of the file."""
        return tuple(place.field for place in self._places.values())

    def array(self, name: str, first: int = 0, last: int | None = None) -> NDArray[Any]:
        """Rows first:last of a field as a view of the map [n w], checked."""
        place = self._places[name]
        last = self.rows if last is None else last
        width = place.field.bytes_per_vector
        self._check(place, first * width, last * width)
        raw = self._map[place.offset + first * width : place.offset + last * width]
        return self._typed(place, raw)

    def take(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The given rows of a field as a copy [n w]; only the blocks that hold them are checked."""
        place = self._places[name]
        width = place.field.bytes_per_vector
        if width and len(rows):
            spans = np.stack([rows * width, (rows + 1) * width - 1]) // BLOCK
            wanted = np.unique(spans)
            if (spans[1] - spans[0]).max() > 1:
                wanted = np.arange(spans.min(), spans.max() + 1)
            for block in wanted[~self._seen[place.first_block + wanted]]:
                self._check_block(place, int(block))
        if self.room is not None and place.nbytes > self.room // SMALL:
            return self._copied(place, rows, self.room)
        whole = self._map[place.offset : place.offset + place.nbytes]
        return self._typed(place, whole)[rows]

    def _copied(self, place: Place, rows: NDArray[np.int64], room: int) -> NDArray[Any]:
        """Rows read from the file: to touch single rows of a map may bring in 2 MiB for each."""
        width = place.field.bytes_per_vector
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # A newer commit has replaced it, and the map alone is left.
            return self._few_at_a_time(place, rows, max(1, room // MOST))
        try:
            offsets = (place.offset + width * rows).tolist()
            content = b"".join([os.pread(fd, width, offset) for offset in offsets])
        finally:
            os.close(fd)
        if len(content) != width * len(rows):
            raise self._damaged("shorter than it was")
        return self._typed(place, np.frombuffer(content, np.uint8))

    def _few_at_a_time(self, place: Place, rows: NDArray[np.int64], few: int) -> NDArray[Any]:
        whole = self._typed(place, self._map[place.offset : place.offset + place.nbytes])
        result = np.empty((len(rows), *whole.shape[1:]), whole.dtype)
        for first in range(0, len(rows), few):
            result[first : first + few] = whole[rows[first : first + few]]
            self.release()
        return result

    @property
    def content(self) -> memoryview:
        """All bytes of the file."""
        return self._map.data

    def _typed(self, place: Place, raw: NDArray[np.uint8]) -> NDArray[Any]:
        form = np.dtype(place.field.dtype).newbyteorder("<")
        return np.asarray(raw).view(form).reshape(-1, place.field.width)

    def _check(self, place: Place, first: int, last: int) -> None:
        for block in range(first // BLOCK, -(-last // BLOCK)):
            self._check_block(place, block)

    def _check_block(self, place: Place, block: int) -> None:
        index = place.first_block + block
        if self._seen[index]:
            return
        start = place.offset + block * BLOCK
        end = min(start + BLOCK, place.offset + place.nbytes)
        if zlib.crc32(self._map[start:end].tobytes()) != self._crcs[index]:
            raise self._damaged(f"bytes {start} to {end} ({place.field.name}) changed")
        self._seen[index] = True
        # All blocks may be checked in one go: what was read for that does not stay.
        self.release()

    def verify(self) -> list[str]:
        """Compare every byte with its checksum, again; one line per damaged block."""
        problems, covered = [], 0
        self._seen[:] = False
        for place in self._places.values():
            gap = self._map[covered or place.offset : place.offset]
            if gap.any():
                problems.append(f"{self.path.name}: padding before {place.field.name} changed")
            covered = place.offset + place.nbytes
            for block in range(place.blocks):
                try:
                    self._check_block(place, block)
                except CorruptStoreError as error:
                    problems.append(str(error))
        return problems

    def damaged_rows(self) -> NDArray[np.bool_]:
        """Which rows lie, with any field, in a damaged block: bool [rows]."""
        bad = np.zeros(self.rows, bool)
        self._seen[:] = False
        for place in self._places.values():
            width = place.field.bytes_per_vector
            for block in range(place.blocks):
                try:
                    self._check_block(place, block)
                except CorruptStoreError:
                    bad[block * BLOCK // width : -(-(block + 1) * BLOCK // width)] = True
        return bad


_REMEDY = (
    "Run Store.verify for the extent, then Store.repair to keep what is whole, or restore a backup."
)
