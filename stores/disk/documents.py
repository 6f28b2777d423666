"""The documents of a change as rows of the catalog: texts packed, metadata and words indexed.

Packing takes about as long as inserting, so a thread does it while vectors are being encoded.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import zstandard

from attar.stores.disk import texts as packing
from attar.stores.disk.library import Library, chunks, marks
from attar.stores.disk.texts import Stored
from attar.stores.filters.attributes import attributes
from attar.stores.hybrid import text_index
from attar.stores.inputs import Batch

MANY = 256
"""From so many documents on a thread is worth its start."""
SAMPLED = 2000
_DELETE_ATTRIBUTE = "DELETE FROM attributes WHERE key = ? AND type = ? AND value = ? AND row = ?"
_INSERT_ATTRIBUTE = "INSERT INTO attributes VALUES(?, ?, ?, ?)"
_Row = tuple[int, str, Stored, Stored, int]
NewTexts = Sequence[str | None] | None


@dataclass
class _Packed:
    """Rows to insert; the dictionary that was trained for them; rows to pack again (at its end)."""

    rows: list[_Row]
    dictionary: bytes | None = None
    again: list[tuple[Stored, Stored, int]] = field(default_factory=list)


class Insertion:
    """New documents with consecutive slots from `first` on, on their way into the catalog.

    after: the insertion before, in the same commit; one of them trains a dictionary for the rest.
    """

    characters: int
    trained: bool
    _press: zstandard.ZstdCompressor | None

    def __init__(
        self, library: Library, first: int, batch: Batch, after: "Insertion | None" = None
    ) -> None:
        self.library, self.first, self.batch = library, first, batch
        meta = library.meta
        before = int(meta["characters"]) if after is None else after.characters
        self.characters = before + characters(batch.texts) + characters(batch.metadata)
        trained = int(meta["trained_at"])
        due = self.characters >= max(packing.FIRST_CHARACTERS, packing.GROWTH * trained)
        self.trains = due and (after is None or not after.trained)
        self.trained = self.trains or (after is not None and after.trained)
        with library.reading() as connection:
            self._press = library.texts.press() if after is None else after._press
            self._number = library.texts.newest() + 1
            self._old: list[tuple[int, str | None, str | None]] = []
            # What lies there plain is little when the first dictionary is trained.
            self._packs_again = not trained and before < packing.GROWTH * packing.FIRST_CHARACTERS
            if self.trains:
                self._old = list(self._known(connection, all_of_them=self._packs_again))
        self._pool = ThreadPoolExecutor(1) if len(batch) >= MANY else None
        self._future: Future[_Packed] | None = None
        if self._pool is not None:
            self._future = self._pool.submit(self._pack)

    def _known(
        self, connection: sqlite3.Connection, all_of_them: bool
    ) -> Iterator[tuple[int, str | None, str | None]]:
        """Documents that are there: all, or some that lie evenly."""
        rows = connection.execute("SELECT row FROM documents ORDER BY row").fetchall()
        slots = [row for (row,) in rows]
        for chunk in chunks(list(slots if all_of_them else packing.spread(slots, SAMPLED))):
            sql = f"SELECT row, text, metadata FROM documents WHERE row IN ({marks(chunk)})"
            for slot, text, metadata in connection.execute(sql, chunk).fetchall():
                unpack = self.library.texts.unpack
                yield slot, unpack(text), unpack(metadata)

    def _pack(self) -> _Packed:
        press, dictionary = self._press, None
        if self.trains:
            dictionary = packing.train(self._samples(), self._number)
            press = press if dictionary is None else packing.compressor(dictionary)
            self._press = press
        batch = self.batch
        rows = [
            (slot, *row)
            for slot, row in enumerate(
                packing.packed_documents(batch.ids, batch.texts, batch.metadata, press), self.first
            )
        ]
        done = _Packed(rows, dictionary)
        if dictionary is not None and self._packs_again:
            done.again = [
                (packing.packed(text, press), packing.packed(metadata, press), slot)
                for slot, text, metadata in self._old
            ]
        return done

    def _samples(self) -> Iterator[str | None]:
        """Texts and metadata of old and new documents, evenly."""
        for _, text, metadata in packing.spread(self._old, SAMPLED):
            yield from (text, metadata)
        for index in packing.spread(range(len(self.batch)), SAMPLED):
            yield from (self.batch.texts[index], self.batch.metadata[index])

    def write(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Insert everything in the open transaction; returns entries for meta."""
        done = self._pack() if self._future is None else self._future.result()
        meta = {"characters": self.characters, "next_row": self.first + len(self.batch)}
        if self.trains:
            meta["trained_at"] = self.characters
        if done.dictionary is not None:
            packing.write_dictionary(connection, self._number, done.dictionary)
            connection.executemany(
                "UPDATE documents SET text = ?, metadata = ? WHERE row = ?", done.again
            )
        connection.executemany("INSERT INTO documents VALUES(?, ?, ?, ?, ?)", done.rows)
        connection.executemany(
            _INSERT_ATTRIBUTE,
            (
                (*a, self.first + i)
                for i, metadata in enumerate(self.batch.metadata)
                if metadata is not None
                for a in attributes(metadata)
            ),
        )
        if self.library.meta["text_index"]:
            text_index.insert(connection, enumerate(self.batch.texts, start=self.first))
        return meta

    def close(self) -> None:
        """Wait for the thread."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class Insertions:
    """Batches of new documents that are made while the commit runs, one in memory at a time."""

    def __init__(self, library: Library, first: int, batches: Iterable[Batch]) -> None:
        self._library, self._first, self._batches = library, first, batches

    def write(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Insert everything in the open transaction; returns entries for meta."""
        meta: dict[str, int] = {}
        first, before = self._first, None
        for batch in self._batches:
            before = Insertion(self._library, first, batch, before)
            try:
                meta |= before.write(connection)
            finally:
                before.close()
            first += len(batch)
        return meta

    def close(self) -> None:
        """Nothing runs between the batches."""


def delete(library: Library, connection: sqlite3.Connection, slots: list[int]) -> None:
    """Take documents out; their slots become tombstones."""
    unpack = library.texts.unpack
    for some in chunks(slots):
        rows = connection.execute(
            f"SELECT row, metadata, text FROM documents WHERE row IN ({marks(some)})", some
        ).fetchall()
        if library.meta["text_index"]:
            text_index.remove(connection, [(row, unpack(text)) for row, _, text in rows])
        gone = [(*a, row) for row, metadata, _ in rows for a in attributes(unpack(metadata))]
        connection.executemany(_DELETE_ATTRIBUTE, gone)
        connection.execute(f"DELETE FROM documents WHERE row IN ({marks(some)})", some)
    connection.executemany("INSERT INTO tombstones VALUES(?)", [(s,) for s in slots])


@dataclass(frozen=True)
class Revision:
    """New texts and metadata (JSON text) of documents that exist; None as a list leaves them."""

    slots: Sequence[int]
    texts: NewTexts
    metadata: NewTexts

    def write(self, library: Library, connection: sqlite3.Connection) -> dict[str, int]:
        """Update everything in the open transaction; returns entries for meta."""
        press = library.texts.press()
        for index, slot in enumerate(self.slots):
            row = connection.execute(
                "SELECT id, text, metadata FROM documents WHERE row = ?", (slot,)
            ).fetchone()
            name, old_text, old = row[0], *map(library.texts.unpack, row[1:])
            text = old_text if self.texts is None else self.texts[index]
            new = old if self.metadata is None else self.metadata[index]
            if library.meta["text_index"] and text != old_text:
                text_index.remove(connection, [(slot, old_text)])
                text_index.insert(connection, [(slot, text)])
            gone, come = attributes(old), attributes(new)
            connection.executemany(_DELETE_ATTRIBUTE, [(*a, slot) for a in gone - come])
            connection.executemany(_INSERT_ATTRIBUTE, [(*a, slot) for a in come - gone])
            connection.execute(
                "UPDATE documents SET text = ?, metadata = ?, crc = ? WHERE row = ?",
                (*next(packing.packed_documents([name], [text], [new], press))[1:], slot),
            )
        written = characters(self.texts or ()) + characters(self.metadata or ())
        return {"characters": int(library.meta["characters"]) + written}


def index_words(library: Library, connection: sqlite3.Connection) -> None:
    """Make the full-text index of all documents."""
    rows = connection.execute("SELECT row, text FROM documents ORDER BY row")
    text_index.build(connection, ((slot, library.texts.unpack(text)) for slot, text in rows))


def characters(texts: Sequence[str | None]) -> int:
    """Characters of all texts."""
    return sum(map(len, filter(None, texts)))
