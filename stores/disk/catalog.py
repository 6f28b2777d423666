"""The catalog: one SQLite file whose transactions are the only commit points of a store.

documents    row (the slot of the vector, never used twice), id, text, metadata JSON, crc32; text
             and metadata are plain or compressed (`disk.texts`), the checksum is of the plain ones
dictionaries what compressed texts were compressed with
attributes   the scalars of the metadata, typed, for filters: key, type, value, row
tombstones   rows that a segment still holds and that are deleted
segments     the registered files: slots first_row..last_row, of which `rows` are in the file
codecs       fitted codecs by the hash of their file
meta         key -> JSON

SQLite's own checksums cover only the write-ahead log, so each document carries a crc32, and the
whole file is sealed on a clean close (`disk.seal`).
"""

import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from attar.stores.disk import connections
from attar.stores.disk.handles import connect_file
from attar.stores.errors import (
    CorruptStoreError,
    NotAStoreError,
    StoreError,
    StoreLockedError,
)
from attar.stores.hybrid import text_index

NAME = "catalog.sqlite"
APPLICATION_ID = 0x41545452
FORMAT: Final[int] = 2
"""1: texts are plain and the content of the full-text index. 2: texts may be compressed."""
UPGRADING: Final[int] = 1000 + FORMAT
"""Format of a store that holds vectors of two models, from the start of an upgrade to its end: a
release that knows nothing of upgrades must not open it, though nothing else differs."""
KINDS = ("codes", "originals", "next", "next-originals")
"""What a segment holds; `next` are codes of the model that an upgrade leads to."""
MOST_ROWS = 1 << 62
_SEGMENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.seg")
PAGE_BYTES = 8192
LOG_PAGES = (32 << 20) // PAGE_BYTES
"""Pages of the write-ahead log before it is folded into the catalog."""
BUSY_MS = 10_000

SCHEMA_1 = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE documents(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT, "
    "metadata TEXT, crc INTEGER NOT NULL)",
    "CREATE TABLE attributes(key TEXT NOT NULL, type INTEGER NOT NULL, value, "
    "row INTEGER NOT NULL, PRIMARY KEY(key, type, value, row)) WITHOUT ROWID",
    "CREATE TABLE tombstones(row INTEGER PRIMARY KEY)",
    "CREATE TABLE segments(segment INTEGER PRIMARY KEY, kind TEXT NOT NULL, "
    "file TEXT NOT NULL UNIQUE, first_row INTEGER NOT NULL, last_row INTEGER NOT NULL, "
    "rows INTEGER NOT NULL, codec TEXT NOT NULL, fingerprint TEXT NOT NULL, "
    "nbytes INTEGER NOT NULL, header_crc INTEGER NOT NULL)",
    "CREATE TABLE codecs(hash TEXT PRIMARY KEY, spec TEXT NOT NULL, nbytes INTEGER NOT NULL, "
    "side_bytes INTEGER NOT NULL) WITHOUT ROWID",
)
SCHEMA = (
    *SCHEMA_1,
    "CREATE TABLE dictionaries(dictionary INTEGER NOT NULL, copy INTEGER NOT NULL, "
    "crc INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY(dictionary, copy))",
)


@dataclass(frozen=True)
class SegmentRow:
    """One registered segment. `kind` is one of `KINDS`."""

    kind: str
    file: str
    first_row: int
    last_row: int
    rows: int
    codec: str
    fingerprint: str
    nbytes: int
    header_crc: int

    @property
    def dense(self) -> bool:
        """Whether every slot from first_row to last_row is in the file."""
        return self.last_row - self.first_row + 1 == self.rows


def document_crc(name: str, text: str | None, metadata: str | None) -> int:
    """Checksum of one document; lengths keep the three parts apart, -1 stands for None."""
    body, notes = text or "", metadata or ""
    crc = zlib.crc32(document_head(name, text, metadata))
    return zlib.crc32(f"{body}{notes}".encode(), crc)


def document_head(name: str, text: str | None, metadata: str | None) -> bytes:
    """What the checksum of a document covers before its text and its metadata."""
    sizes = f"{len(name)},{-1 if text is None else len(text)},{-1 if metadata is None else 0}"
    return f"{sizes};{name}".encode()


def is_whole(name: object, text: object, metadata: object, crc: int) -> bool:
    """Whether a document is what was committed; damage may have changed even its types."""
    if not isinstance(name, str):
        return False
    if not (text is None or isinstance(text, str)):
        return False
    if not (metadata is None or isinstance(metadata, str)):
        return False
    return document_crc(name, text, metadata) == crc


def create(
    folder: Path, meta: dict[str, Any], codec: tuple[str, str, int, int] | None = None
) -> None:
    """Make an empty catalog in `folder`; `codec` is the row of a fitted codec."""
    connection = connections.connect(folder / NAME, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        for statement in SCHEMA:
            connection.execute(statement)
        write_meta(connection, meta)
        if codec is not None:
            connection.execute("INSERT INTO codecs VALUES(?, ?, ?, ?)", codec)
        connection.execute("COMMIT")
    finally:
        connection.close()


def not_a_store(folder: Path) -> NotAStoreError:
    """The error for a path without a catalog."""
    return NotAStoreError(
        f"A store is a folder with a {NAME}; {folder} "
        f"{'has none' if folder.is_dir() else 'is not a folder'}. Check the path, or make a "
        "store with attar.Store.create or `attar build-index`."
    )


def connect(folder: Path, write: bool) -> sqlite3.Connection:
    """Open the catalog of an existing store and refuse what is not one."""
    path = folder / NAME
    if not folder.is_dir() or not path.is_file():
        raise not_a_store(folder)
    if not write:
        _roll_back(path)
    connection = connect_file(path, "rw" if write else "ro")
    try:
        with readable(path):
            _check_identity(connection, path)
            _configure(connection, write)
    except BaseException:
        connection.close()
        raise
    return connection


def _roll_back(path: Path) -> None:
    """Undo a change of journal mode (`disk.swap.settle`) that a crash cut off; only writers can."""
    journal = path.with_name(f"{path.name}-journal")
    if not journal.exists():
        return
    connection = connect_file(path, "rw")
    try:
        with readable(path):
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except StoreError:
        # The reader that follows says what is wrong.
        return
    finally:
        connection.close()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in a store's words what SQLite finds broken."""
    try:
        yield
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise StoreLockedError(
                f"{path} is held by another program ({error}). Wait until it is done, or close it."
            ) from error
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
            raise StoreError(
                f"{path} cannot be opened ({error}); also readers write a small index beside it. "
                "Make the folder writable, or copy the store to one that is."
            ) from error
        # Text that is not UTF-8 comes without a name.
        if name and not name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")):
            raise
        raise _broken(path, error) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> CorruptStoreError:
    return CorruptStoreError(
        f"{path} cannot be read as the catalog it was: {error}. Run Store.verify for the extent, "
        "Store.repair to keep what is whole, or restore a backup."
    )


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    version = format_of(connection)
    if identity != APPLICATION_ID:
        raise NotAStoreError(f"{path} is an SQLite file but not a store's catalog.")
    if version > FORMAT and version != UPGRADING:
        raise NotAStoreError(
            f"{path.parent} has store format {version}; this release knows up to {FORMAT}. "
            "Upgrade attar: pip install --upgrade attar."
        )
    if version < 1:
        raise NotAStoreError(f"{path.parent} has store format {version}, which never existed.")
    schema, index = (SCHEMA, text_index.TABLE) if version > 1 else (SCHEMA_1, text_index.TABLE_1)
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql > ''")}
    foreign = found - {*schema, index, *text_index.SHADOWS}
    if not set(schema) <= found or foreign:
        raise CorruptStoreError(
            f"{path} has tables, views or triggers that a store does not make: "
            f"{sorted(foreign)[:1]}. Restore a backup."
        )


def format_of(connection: sqlite3.Connection) -> int:
    """Format version of a catalog."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _configure(connection: sqlite3.Connection, write: bool) -> None:
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA cache_size=-{(64 if write else 16) << 10}")
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    if write:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
    else:
        connection.execute("PRAGMA query_only=ON")


def read_meta(connection: sqlite3.Connection) -> dict[str, Any]:
    """All meta entries, checked: a store may come from somebody else."""
    rows = connection.execute("SELECT key, value FROM meta").fetchall()
    try:
        meta = _NEW_IN_2 | {key: json.loads(value) for key, value in rows}
        wrong = [key for key, right in _META.items() if not right(meta[key])]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptStoreError(
            f"The settings of the catalog are unreadable: {error!r:.80}."
        ) from None
    if wrong:
        raise CorruptStoreError(
            f"The catalog's setting {wrong[0]} cannot be {meta[wrong[0]]!r:.80}. Restore a backup."
        )
    return meta


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_ROWS


def _text(value: object) -> bool:
    return isinstance(value, str)


_META: dict[str, Callable[[Any], bool]] = {
    "counter": _whole,
    "next_row": _whole,
    "dim": lambda v: v is None or (_whole(v) and 0 < v < 1 << 24),
    "metric": lambda v: v in ("cosine", "ip", "l2"),
    "codec": lambda v: v is None or _text(v),
    "spec": _text,
    "encoder": _text,
    "fingerprint": _text,
    "keep_originals": lambda v: isinstance(v, bool),
    "text_index": lambda v: isinstance(v, bool),
    "train_at": _whole,
    "characters": _whole,
    "trained_at": _whole,
    "seed": lambda v: isinstance(v, int),
}


_NEW_IN_2 = {"characters": 0, "trained_at": 0}
"""Characters of texts and metadata ever written, and when the last dictionary was trained."""


def write_meta(connection: sqlite3.Connection, entries: dict[str, Any]) -> None:
    """Set meta entries."""
    rows = [(key, json.dumps(value)) for key, value in entries.items()]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", rows)


def read_segments(connection: sqlite3.Connection) -> list[SegmentRow]:
    """Registered segments in slot order, codes before originals."""
    rows = connection.execute(
        "SELECT kind, file, first_row, last_row, rows, codec, fingerprint, nbytes, header_crc "
        "FROM segments ORDER BY kind, first_row"
    )
    return [_checked_segment(row) for row in rows]


def _checked_segment(row: tuple[Any, ...]) -> SegmentRow:
    kind, file, first, last, rows, codec, fingerprint, nbytes, crc = row
    texts = all(_text(value) for value in (kind, file, codec, fingerprint))
    numbers = all(_whole(value) for value in (first, last, rows, nbytes, crc))
    if not texts or not numbers or not 0 < rows <= last - first + 1:
        raise CorruptStoreError(f"The catalog has an impossible segment: {row!r:.120}.")
    if kind not in KINDS or not _SEGMENT_NAME.fullmatch(file):
        raise CorruptStoreError(f"The catalog names a segment {file!r:.80}; restore a backup.")
    return SegmentRow(*row)


def insert_segment(connection: sqlite3.Connection, row: SegmentRow) -> None:
    """Register a segment whose file is durable."""
    connection.execute(
        "INSERT INTO segments(kind, file, first_row, last_row, rows, codec, fingerprint, nbytes, "
        "header_crc) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.kind,
            row.file,
            row.first_row,
            row.last_row,
            row.rows,
            row.codec,
            row.fingerprint,
            row.nbytes,
            row.header_crc,
        ),
    )
