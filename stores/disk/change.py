"""One atomic change of a store.

Files first: segments and codecs are written and made durable while nobody knows of them. Then ONE
SQLite transaction registers them, with documents, tombstones and meta: that is the commit. Then the
witness (`disk.seal`) is written and replaced files are removed. A crash before the commit leaves
orphans, which the next writer removes; a crash after it loses nothing.
"""

import json
import logging
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk import catalog, documents, log
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.durable import copy_file, explained, fsync_folder, write_file
from attar.stores.disk.handles import file_crc
from attar.stores.disk.library import CODECS, SEGMENTS, Library, codec_hash
from attar.stores.disk.pieces import Piece, Target, write_pieces
from attar.stores.disk.seal import Seal, read_seal, write_seal
from attar.stores.disk.swap import remove_drafts
from attar.stores.inputs import Batch
from attar.stores.protocols import Codec

logger = logging.getLogger(__name__)

_CLOSING_MS = 250
"""How long a writer that closes waits for readers; the next writer folds what they held up."""


class Change:
    """Collects a change of an open library; leaving the block commits it, an error undoes it.

    Nothing is visible before the block ends. The library is refreshed afterwards either way.
    """

    def __init__(self, library: Library, doing: str) -> None:
        self._library = library
        self._doing = doing
        self._files: list[Path] = []
        self._added: list[SegmentRow] = []
        self._removed: list[SegmentRow] = []
        self._codecs: list[tuple[str, Codec, int]] = []
        self._meta: dict[str, Any] = {}
        self._slots: NDArray[np.int64] = np.zeros(0, np.int64)
        self._insertion: documents.Insertion | documents.Insertions | None = None
        self._index_texts = False
        self._forgotten: list[str] = []
        self._format: int | None = None
        self._revision: documents.Revision | None = None

    def __enter__(self) -> Self:
        self._library.writing.acquire()
        log.fold(self._library)
        return self

    def add_codec(self, codec: Codec) -> str:
        """Write a fitted codec; returns its hash."""
        content = codec.dump()
        name = codec_hash(content)
        path = self._library.codec_path(name)
        if not path.exists():
            self._files.append(path)
            with explained(self._doing, self._library.folder):
                write_file(path, content)
        self._codecs.append((name, codec, len(content)))
        return name

    def add_segment(self, target: Target, pieces: Sequence[Piece]) -> None:
        """Write a segment; pieces without rows are left out, and so is a segment without any."""
        some = [piece for piece in pieces if len(piece.slots)]
        if not some:
            return
        counter = self._library.snapshot.counter + 1
        name = f"{counter:012d}-{target.kind}-{secrets.token_hex(4)}.seg"
        path = self._library.folder / SEGMENTS / name
        self._files.append(path)
        with explained(self._doing, self._library.folder):
            self._added.append(write_pieces(path, target, some))

    def remove_segment(self, row: SegmentRow) -> None:
        """Unregister a segment; its file goes after the commit."""
        self._removed.append(row)

    def remove_codec(self, name: str) -> None:
        """Unregister a codec that no segment uses; its file goes after the commit."""
        self._forgotten.append(name)

    def revise(self, revision: documents.Revision) -> None:
        """Replace texts and metadata of documents."""
        self._revision = revision

    def set_format(self, version: int) -> None:
        """Say which releases may open the store from this commit on."""
        self._format = version

    def set_meta(self, **entries: Any) -> None:
        """Set meta entries."""
        self._meta |= entries

    def take_segment(self, path: Path, row: SegmentRow) -> None:
        """Register a segment that was written elsewhere; the file at `path` stays."""
        counter = self._library.snapshot.counter + 1
        name = f"{counter:012d}-{row.kind}-{secrets.token_hex(4)}.seg"
        own = self._library.folder / SEGMENTS / name
        self._files.append(own)
        with explained(self._doing, self._library.folder):
            copy_file(path, own)
        self._added.append(replace(row, file=name))

    def insert(self, first_slot: int, batch: Batch) -> None:
        """Insert documents with consecutive slots; before the segments, to pack meanwhile."""
        self._insertion = documents.Insertion(self._library, first_slot, batch)

    def stream(self, first_slot: int, batches: Iterable[Batch]) -> None:
        """As `insert`, for batches that are made while the commit runs."""
        self._insertion = documents.Insertions(self._library, first_slot, batches)

    def index_texts(self) -> None:
        """Make the full-text index of all documents."""
        self._index_texts = True
        self.set_meta(text_index=True)

    def delete(self, slots: Iterable[int]) -> None:
        """Delete documents by slot."""
        self._slots = np.unique(np.fromiter(slots, np.int64))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is not None:
                self._undo()
                return
            try:
                folder = self._library.folder
                readable = catalog.readable(folder / catalog.NAME)
                with self._library.guard, readable, explained(self._doing, folder):
                    self._commit()
            except BaseException:
                self._undo()
                raise
        finally:
            if self._insertion is not None:
                self._insertion.close()
            self._library.writing.release()

    def _undo(self) -> None:
        with self._library.guard:
            connection = self._library.connection
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        for path in self._files:
            path.unlink(missing_ok=True)

    def _commit(self) -> None:
        library = self._library
        if self._added:
            fsync_folder(library.folder / SEGMENTS)
        counter = library.snapshot.counter + 1
        unseal(library.folder)
        connection = library.connection
        connection.execute("BEGIN IMMEDIATE")
        documents.delete(library, connection, self._slots.tolist())
        if self._insertion is not None:
            self.set_meta(**self._insertion.write(connection))
        if self._revision is not None:
            self.set_meta(**self._revision.write(library, connection))
        if self._index_texts:
            documents.index_words(library, connection)
        for name, codec, nbytes in self._codecs:
            connection.execute(
                "INSERT OR IGNORE INTO codecs VALUES(?, ?, ?, ?)",
                (name, codec.spec, nbytes, codec.side_bytes),
            )
        connection.executemany(
            "DELETE FROM codecs WHERE hash = ?", [(name,) for name in self._forgotten]
        )
        self._swap(connection)
        if self._format is not None:
            connection.execute(f"PRAGMA user_version={self._format:d}")
        catalog.write_meta(connection, self._meta | {"counter": counter})
        # Whether a COMMIT that fails took place is known only after the log is read again: from
        # here on files stay, and the next writer removes them if the catalog does not name them.
        self._files = []
        connection.execute("COMMIT")
        if self._format is not None:
            library.format = self._format
        for name, codec, _ in self._codecs:
            library.remember(name, codec)
        library.refresh()
        self._tidy(counter)

    def _tidy(self, counter: int) -> None:
        """After the commit: what fails here is made good later, so it must not look like failure.

        A witness may lag behind, and files that are left over go when the next writer opens.
        """
        folder = self._library.folder
        try:
            write_seal(folder, Seal(counter), durable=False)
            for row in self._removed:
                (folder / SEGMENTS / row.file).unlink(missing_ok=True)
            for name in self._forgotten:
                self._library.codec_path(name).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("Commit %d of %s is not tidied up: %s", counter, folder, error)

    def _swap(self, connection: sqlite3.Connection) -> None:
        for row in self._removed:
            connection.execute("DELETE FROM segments WHERE file = ?", (row.file,))
            if row.kind == "codes":
                connection.execute(
                    "DELETE FROM tombstones WHERE row BETWEEN ? AND ?",
                    (row.first_row, row.last_row),
                )
        for row in self._added:
            catalog.insert_segment(connection, row)


def unseal(folder: Path) -> None:
    """Before the first change after a clean close: the catalog's checksum is about to be wrong."""
    seal = read_seal(folder)
    if seal.sealed:
        write_seal(folder, Seal(seal.counter), durable=True)


def seal_catalog(library: Library) -> None:
    """Fold the write-ahead log into the catalog and witness the result, unless readers hold it.

    A disk that refuses leaves the store unsealed: all is in the log, the next writer folds it.
    """
    path = library.folder / catalog.NAME
    with library.guard:
        connection = library.connection
        connection.execute(f"PRAGMA busy_timeout={_CLOSING_MS}")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                size, crc = file_crc(path)
                write_seal(library.folder, Seal(library.snapshot.counter, True, size, crc), True)
        except (sqlite3.OperationalError, OSError) as error:
            logger.warning("%s was closed unsealed: %s", library.folder, error)


def remove_orphans(library: Library) -> list[str]:
    """Remove files of our own naming that no commit registered; returns their names."""
    with library.reading() as connection:
        known = {row.file for row in catalog.read_segments(connection)}
        codecs = {
            f"{name}.safetensors" for (name,) in connection.execute("SELECT hash FROM codecs")
        }
    removed = remove_drafts(library.folder)
    for folder, ours, suffix in ((SEGMENTS, known, ".seg"), (CODECS, codecs, ".safetensors")):
        # Archives and version control leave out folders that are empty.
        (library.folder / folder).mkdir(exist_ok=True)
        for path in sorted((library.folder / folder).iterdir()):
            mine = path.name.endswith((suffix, f"{suffix}.tmp")) and path.is_file()
            if mine and path.name not in ours:
                path.unlink()
                removed.append(path.name)
    return removed


def plain_json(value: Any, what: str) -> Any:
    """The value as JSON gives it back; what JSON cannot write is refused."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is kept as JSON: {error}.") from None
