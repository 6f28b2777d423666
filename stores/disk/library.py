"""An open store folder: the catalog's connection, the mapped segments and the codecs of a commit.

A reader keeps one SQLite read transaction open, so that documents and vectors are of the same
commit until `refresh`. Threads share the connection one at a time (`guard`) and change the store
one at a time (`writing`, taken first). A forked child must open its
own (`disk.forking`): SQLite connections do not survive a fork.
"""

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.budget import check_budget, share
from attar.stores.disk import catalog
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.handles import is_current
from attar.stores.disk.seal import check_seal, read_seal
from attar.stores.disk.segment import Segment
from attar.stores.disk.texts import Stored, Texts
from attar.stores.errors import CorruptStoreError, StoreError
from attar.stores.exact import EXACT, ExactCodec
from attar.stores.protocols import Codec
from attar.stores.records import Record
from attar.stores.snapshot import Snapshot, among, map_parts

SEGMENTS, CODECS = "segments", "codecs"
_HASH = re.compile(r"[0-9a-f]{32}")
_CHUNK = 500
_TRIES = 20

LoadCodec = Callable[[bytes], Codec]


class Library:
    """Reads one store folder; `disk.change.Change` writes it."""

    def __init__(
        self,
        folder: Path,
        write: bool,
        load_codec: LoadCodec | None,
        budget: int | None = None,
    ) -> None:
        self.folder = folder
        self._budget = budget
        self.write = write
        self._guard = threading.RLock()
        self.writing = threading.RLock()
        self.patient_from = 0
        """Size of the log at which to wait for readers again; see `disk.log`."""
        self._load_codec = load_codec
        self._codecs: dict[str, Codec] = {}
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self.meta: dict[str, Any] = {}
        self.snapshot = Snapshot(-1, (), ())
        connection = catalog.connect(folder, write)
        try:
            self._connection = connection
            self.texts = Texts(connection)
            self.format = catalog.format_of(connection)
            self._check_seal()
            self.refresh()
            if budget is not None:
                check_budget(budget, self.snapshot.parts)
        except BaseException:
            connection.close()
            raise

    def _check_seal(self) -> None:
        """Compare catalog and witness; a writer that starts meanwhile changes the witness first."""
        for _ in range(_TRIES):
            seal = read_seal(self.folder)
            try:
                check_seal(seal, self.folder / catalog.NAME)
                return
            except CorruptStoreError:
                if read_seal(self.folder) == seal:
                    raise

    @property
    def connection(self) -> sqlite3.Connection:
        """The catalog's connection, in the process that opened it, until `close`."""
        if self._connection is None:
            raise StoreError(f"The store {self.folder} is closed. Open it again.")
        self._check_process()
        return self._connection

    @property
    def guard(self) -> threading.RLock:
        """Held by the thread that reads; in a forked child nobody might ever let go of it."""
        self._check_process()
        return self._guard

    @property
    def inherited(self) -> bool:
        """Whether this process is a forked child of the one that opened the store."""
        return os.getpid() != self._pid

    def _check_process(self) -> None:
        if self.inherited:
            raise StoreError(
                f"A store belongs to the process that opened it ({self._pid}), this is "
                f"{os.getpid()}. Open the store again after the fork."
            )

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone."""
        with self.guard, catalog.readable(self.folder / catalog.NAME):
            yield self.connection

    def refresh(self) -> None:
        """Move to the newest commit."""
        with self.reading() as connection:
            for attempt in range(_TRIES):
                witness = read_seal(self.folder).counter
                if not self.write:
                    connection = self._begin()
                try:
                    self._load_checked(connection, witness)
                    # A catalog that was replaced just now may have met the log of the new one.
                    if self.write or is_current(connection, self.folder / catalog.NAME):
                        return
                except CorruptStoreError:
                    # A writer may have replaced files between the catalog's answer and our look.
                    last = self.write or attempt == _TRIES - 1
                    if last or not self._moved(connection):
                        raise

    def _begin(self) -> sqlite3.Connection:
        """Start a read transaction on the newest commit, in the file that is the catalog now."""
        connection = self.connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if not is_current(connection, self.folder / catalog.NAME):
            new = catalog.connect(self.folder, write=False)
            self._connection, old = new, connection
            old.close()
            self.format = catalog.format_of(new)
            self.texts = Texts(new)
            self.snapshot = replace(self.snapshot, counter=-1)
        self.connection.execute("BEGIN")
        return self.connection

    def _moved(self, connection: sqlite3.Connection) -> bool:
        if not is_current(connection, self.folder / catalog.NAME):
            return True
        before = catalog.read_meta(connection).get("counter")
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
        return catalog.read_meta(connection).get("counter") != before

    def _load_checked(self, connection: sqlite3.Connection, witness: int) -> None:
        try:
            self._load(connection, witness)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise CorruptStoreError(
                f"The catalog of {self.folder} says something impossible ({error!r:.120}). Run "
                "Store.verify for the extent, Store.repair, or restore a backup."
            ) from error

    def _load(self, connection: sqlite3.Connection, witness: int) -> None:
        meta = catalog.read_meta(connection)
        if meta["counter"] < witness:
            raise CorruptStoreError(
                f"{self.folder} was at commit {witness}, its catalog only knows "
                f"{meta['counter']}: the write-ahead log is damaged or missing. Run Store.repair "
                "to go on from the older commit, or restore a backup."
            )
        if self.snapshot.counter == meta["counter"]:
            return
        rows = catalog.read_segments(connection)
        dead = connection.execute("SELECT row FROM tombstones ORDER BY row").fetchall()
        tombstones = np.fromiter((row for (row,) in dead), np.int64, len(dead))
        known = self._known()

        def _codecs(kind: str) -> Callable[[str], Codec]:
            owner = "upgrade" if kind.startswith("next") else None

            def _codec(name: str) -> Codec:
                if name != EXACT:
                    return self.codec_of(name)
                return ExactCodec(int((meta[owner] if owner else meta)["dim"]))

            return _codec

        kinds: dict[str, list[SegmentRow]] = {kind: [] for kind in catalog.KINDS}
        for row in rows:
            kinds[row.kind].append(row)
        maps = {
            kind: map_parts(some, self.folder / SEGMENTS, _codecs(kind), tombstones, known)
            for kind, some in kinds.items()
        }
        if self._budget is not None:
            share(self._budget, maps["codes"])
        snapshot = Snapshot(int(meta["counter"]), maps["codes"], maps["originals"])
        if kinds["next"]:
            alive = [p.slots_of(np.flatnonzero(p.live)) for p in snapshot.parts]
            slots = np.concatenate([np.zeros(0, np.int64), *alive])
            following = (among(maps[kind], slots) for kind in ("next", "next-originals"))
            snapshot = Snapshot(snapshot.counter, snapshot.parts, snapshot.originals, *following)
        self.meta = meta
        self.snapshot = snapshot

    def _known(self) -> dict[str, Segment]:
        return {p.row.file: p.segment for p in self.snapshot.everything}

    def codec_of(self, name: str) -> Codec:
        """A codec of this store by its hash, loaded and compared with its hash once."""
        if name == EXACT:
            return ExactCodec(int(catalog.read_meta(self.connection)["dim"]))
        if name not in self._codecs:
            self._codecs[name] = self._read_codec(name)
        return self._codecs[name]

    def remember(self, name: str, codec: Codec) -> None:
        """Keep a codec that was fitted or given here."""
        self._codecs[name] = codec

    def _read_codec(self, name: str) -> Codec:
        path = self.codec_path(name)
        content = path.read_bytes() if path.exists() else b""
        if codec_hash(content) != name:
            raise CorruptStoreError(
                f"{path} is missing or not what was committed. Restore it from a backup; the "
                "codes are unreadable without it."
            )
        if self._load_codec is None:
            raise StoreError(
                f"{self.folder} holds a fitted codec and nothing to load it with. Open the store "
                "with attar.open, or give load_codec=."
            )
        return self._load_codec(content)

    def codec_path(self, name: str) -> Path:
        """Where the file of a fitted codec lies."""
        if not _HASH.fullmatch(name):
            raise CorruptStoreError(f"{self.folder} names a codec {name!r:.80}; restore a backup.")
        return self.folder / CODECS / f"{name}.safetensors"

    def names(self, slots: NDArray[np.int64]) -> dict[int, str]:
        """Ids of live slots."""
        found = self.names_of_live(slots)
        if len(found) != len(slots) or not all(isinstance(n, str) for n in found.values()):
            lost = next(s for s in slots.tolist() if not isinstance(found.get(s), str))
            raise CorruptStoreError(
                f"Every live vector has a document; slot {lost} has none. Run Store.verify, then "
                "Store.repair."
            )
        return found

    def names_of_live(self, slots: NDArray[np.int64]) -> dict[int, str]:
        """Ids of those of the slots that are live; the others are left out."""
        with self.reading() as connection:
            found: dict[int, str] = {}
            for chunk in chunks(slots.tolist()):
                sql = f"SELECT row, id FROM documents WHERE row IN ({marks(chunk)})"
                found.update(connection.execute(sql, chunk).fetchall())
        return found

    def slots(self, ids: Sequence[str]) -> dict[str, int]:
        """Slots of the ids that exist."""
        with self.reading() as connection:
            found: dict[str, int] = {}
            for chunk in chunks(list(ids)):
                sql = f"SELECT id, row FROM documents WHERE id IN ({marks(chunk)})"
                found.update(connection.execute(sql, chunk).fetchall())
        return found

    def records(self, ids: Sequence[str]) -> list[tuple[int, Record]]:
        """Slots and documents of the ids that exist, in the order of `ids`."""
        with self.reading() as connection:
            found: dict[str, tuple[int, Record]] = {}
            for chunk in chunks(list(ids)):
                sql = (
                    "SELECT row, id, text, metadata, crc FROM documents "
                    f"WHERE id IN ({marks(chunk)})"
                )
                found.update(
                    (r[1], self._record(*r)) for r in connection.execute(sql, chunk).fetchall()
                )
        return [found[name] for name in ids if name in found]

    def after(self, slot: int, count: int) -> list[tuple[int, Record]]:
        """The next `count` documents in slot order with a slot above the given one."""
        sql = (
            "SELECT row, id, text, metadata, crc FROM documents WHERE row > ? ORDER BY row LIMIT ?"
        )
        with self.reading() as connection:
            return [self._record(*r) for r in connection.execute(sql, (slot, count)).fetchall()]

    def _record(
        self, slot: int, name: str, text: Stored, metadata: Stored, crc: int
    ) -> tuple[int, Record]:
        """Slot and record of one catalog row, compared with its checksum."""
        plain = self.texts.whole(name, text, metadata, crc)
        if plain is None:
            raise CorruptStoreError(
                f"The document of id {name!r:.80} is not what was committed. Run Store.verify for "
                "the extent, then Store.repair."
            )
        return slot, Record(name, plain[0], None if plain[1] is None else json.loads(plain[1]))

    def close(self) -> None:
        """Let the files go; maps that somebody still holds stay valid.

        A forked child does nothing: closing an inherited connection could disturb the parent.
        """
        if self.inherited:
            return
        with self.guard:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                connection.close()


def codec_hash(content: bytes) -> str:
    """Name of a fitted codec: 128 bits of blake2b of its file."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def chunks(values: list[Any]) -> Iterator[list[Any]]:
    """Few enough values for one statement at a time."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def marks(values: list[Any]) -> str:
    """Placeholders for values."""
    return ",".join("?" * len(values))
