"""Texts and metadata as they lie in the catalog: plain (TEXT), or one zstd frame each (BLOB).

Passages are short, so a frame by itself saves little: it is made with a dictionary that was trained
on texts of the same store (RFC 8878, section 5). That makes them as small as blocks of 64 KiB
would, and leaves every document readable alone. A frame has no magic number, states its size and
names its dictionary.

Until there is a MiB of text all is plain; the add that brings it trains a dictionary and packs what
is there already. Another one is trained whenever there is 16 times as much text; frames keep the
dictionary that they were made with. A dictionary is kept twice, each copy with a crc32, because
without it all its texts would be lost.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import zstandard

from attar.stores.disk.catalog import document_head, is_whole
from attar.stores.errors import CorruptStoreError

FIRST_CHARACTERS = 1 << 20
GROWTH = 16
SAMPLE_BYTES = 4 << 20
DICTIONARY_BYTES = 64 << 10
SHARE = 64
"""A dictionary has at most a 64th of the bytes that it is trained on."""
LEVEL = 3
MOST_TIMES = 1000
"""A frame holds at most so many times its own bytes, so that none can fill the memory."""
SHORTEST = 24
COPIES = 2

_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS
Stored = str | bytes | None
Column = Sequence[str | None]


class Texts:
    """Unpacks the texts of one catalog, one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._open: dict[int, zstandard.ZstdDecompressor] = {}
        self._press: tuple[int, zstandard.ZstdCompressor] | None = None

    def newest(self) -> int:
        """Number of the dictionary that the catalog trained last; 0 when there is none."""
        return int(
            self._connection.execute(
                "SELECT coalesce(max(dictionary), 0) FROM dictionaries"
            ).fetchone()[0]
        )

    def press(self) -> zstandard.ZstdCompressor | None:
        """What packs with the newest dictionary; None when there is none. For one thread."""
        number = self.newest()
        if number and (self._press is None or self._press[0] != number):
            self._press = number, compressor(read_dictionary(self._connection, number))
        return None if self._press is None else self._press[1]

    def unpack(self, stored: Stored) -> str | None:
        """The text that was packed; raises CorruptStoreError for what no `pack` makes."""
        if not isinstance(stored, bytes):
            return stored
        try:
            head = zstandard.get_frame_parameters(stored, format=_FORMAT)
            if head.content_size > MOST_TIMES * len(stored):
                raise ValueError(f"it claims {head.content_size} bytes")
            return self._reader(head.dict_id).decompress(stored).decode()
        except (zstandard.ZstdError, ValueError) as error:
            raise CorruptStoreError(
                f"A compressed text is not what was committed ({error!r:.80}). Run Store.verify "
                "for the extent, then Store.repair."
            ) from None

    def _reader(self, number: int) -> zstandard.ZstdDecompressor:
        if number not in self._open:
            dictionary = zstandard.ZstdCompressionDict(read_dictionary(self._connection, number))
            self._open[number] = zstandard.ZstdDecompressor(dict_data=dictionary, format=_FORMAT)
        return self._open[number]

    def whole(
        self, name: Any, text: Any, metadata: Any, crc: Any
    ) -> tuple[str | None, str | None] | None:
        """Text and metadata of a document, None when they are not what was committed."""
        try:
            plain = self.unpack(text), self.unpack(metadata)
        except CorruptStoreError:
            return None
        return plain if is_whole(name, *plain, crc) else None


def packed(
    text: str | None, press: zstandard.ZstdCompressor | None, raw: bytes | None = None
) -> Stored:
    """A frame where that is smaller than the text, else the text. raw: it as UTF-8, if known."""
    if text is None or press is None or len(text) < SHORTEST:
        return text
    raw = text.encode() if raw is None else raw
    frame = press.compress(raw)
    return frame if len(frame) < len(raw) <= MOST_TIMES * len(frame) else text


def packed_documents(
    ids: Sequence[str], texts: Column, metadata: Column, press: zstandard.ZstdCompressor | None
) -> Iterator[tuple[str, Stored, Stored, int]]:
    """Ids, texts and metadata as they are to be stored, and the checksums of the documents.

    Column by column, because this is most of what adding a short document costs.
    """
    heads = map(document_head, ids, texts, metadata)
    crcs: Iterable[int] = map(zlib.crc32, heads)
    columns = []
    for column in (texts, metadata):
        if any(one is not None for one in column):
            raws = [b"" if one is None else one.encode() for one in column]
            crcs = map(zlib.crc32, raws, crcs)
            columns.append([packed(one, press, raw) for one, raw in zip(column, raws, strict=True)])
        else:
            columns.append(list(column))
    return zip(ids, *columns, crcs, strict=True)


def compressor(content: bytes) -> zstandard.ZstdCompressor:
    """What makes frames with a dictionary."""
    settings = zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        dict_size=len(content),
        format=_FORMAT,
        write_content_size=True,
        write_dict_id=True,
    )
    dictionary = zstandard.ZstdCompressionDict(content)
    dictionary.precompute_compress(compression_params=settings)
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=settings)


def train(samples: Iterable[str | None], number: int) -> bytes | None:
    """A dictionary for texts like these; None when they are too few or have nothing in common."""
    taken: list[bytes | bytearray | memoryview] = []
    size = 0
    for text in samples:
        if text and size < SAMPLE_BYTES:
            raw = text.encode()
            taken.append(raw)
            size += len(raw)
    try:
        # k and d fixed: searching for them takes five times as long and saves .3 %.
        made = zstandard.train_dictionary(
            min(DICTIONARY_BYTES, size // SHARE), taken, k=64, d=8, dict_id=number, level=LEVEL
        )
    except (zstandard.ZstdError, ValueError):
        return None
    return made.as_bytes()


def read_dictionary(connection: sqlite3.Connection, number: int) -> bytes:
    """The first whole copy of a dictionary."""
    rows = connection.execute(
        "SELECT crc, content FROM dictionaries WHERE dictionary = ? ORDER BY copy", (number,)
    )
    for crc, content in rows:
        if isinstance(content, bytes) and zlib.crc32(content) == crc:
            return content
    raise CorruptStoreError(
        f"Dictionary {number}, which compressed texts of this store need, is missing or damaged. "
        "Restore a backup."
    )


def write_dictionary(connection: sqlite3.Connection, number: int, content: bytes) -> None:
    """Keep a dictionary, twice."""
    rows = [(number, copy, zlib.crc32(content), content) for copy in range(COPIES)]
    connection.executemany("INSERT INTO dictionaries VALUES(?, ?, ?, ?)", rows)


def spread(values: Sequence[Any], count: int) -> Sequence[Any]:
    """At most `count` of the values, evenly."""
    return values[:: max(1, -(-len(values) // count))]
