"""The originals of what was shortened, kept for a while, for their owner only."""

import contextlib
import hmac
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

from attar.stores.disk.connections import connect
from attar.stores.disk.forking import no_fork

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS originals (
  scope BLOB NOT NULL, conversation BLOB NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL,
  expires REAL NOT NULL, PRIMARY KEY (scope, conversation, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_expiry ON originals (expires);
"""


def original_id(text: str) -> str:
    """Return the id of a text: 16 hexadecimal digits of its hash."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Originals:
    """Texts by id, scoped by key and conversation, forgotten after `ttl` seconds.

    path: a SQLite file, made with mode 0600 (an existing file readable by others is refused); None
    keeps everything in memory. Keys (an Authorization header, a user name) are never stored: scopes
    are keyed hashes under a secret of the file. Usable from several threads.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        ttl: float = 86400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if ttl <= 0:
            raise ValueError(f"ttl is a number of seconds above 0, got {ttl}.")
        self.ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        if path is not None:
            _private_file(Path(path))
        self._db = connect(str(path or ":memory:"), check_same_thread=False)
        # What is forgotten is also overwritten in the file.
        self._db.execute("PRAGMA secure_delete = ON")
        with self._transaction() as db:
            db.executescript(_SCHEMA)
            if db.execute("SELECT count(*) FROM secret").fetchone()[0] == 0:
                db.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
        (self._secret,) = self._db.execute("SELECT value FROM secret").fetchone()

    def put(self, texts: list[str], key: str = "", conversation: str = "") -> list[str]:
        """Keep texts under a key and a conversation; return their ids."""
        ids = [original_id(text) for text in texts]
        until = self._clock() + self.ttl
        scopes = self._hashed(key), self._hashed(conversation)
        with self._transaction() as db:
            db.execute("DELETE FROM originals WHERE expires <= ?", (self._clock(),))
            db.executemany(
                "INSERT OR REPLACE INTO originals VALUES (?, ?, ?, ?, ?)",
                [(*scopes, i, t, until) for i, t in zip(ids, texts, strict=True)],
            )
        return ids

    def get(self, id: str, key: str = "", conversation: str | None = None) -> str | None:
        """Return an original of this key (and conversation, if given); None if there is none."""
        query = "SELECT text FROM originals WHERE scope = ? AND id = ? AND expires > ?"
        values: list[object] = [self._hashed(key), id, self._clock()]
        if conversation is not None:
            query += " AND conversation = ?"
            values.append(self._hashed(conversation))
        with self._transaction() as db:
            found = db.execute(query, values).fetchone()
        return str(found[0]) if found else None

    def purge(
        self, key: str | None = None, conversation: str | None = None, expired: bool = False
    ) -> int:
        """Forget the originals of a key, of one conversation, or all; return how many.

        expired: only those whose time is over (they are not served any more, and go by themselves
        when the next text is kept).
        """
        where: list[str] = ["1"]
        values: list[object] = []
        if expired:
            where, values = [*where, "expires <= ?"], [*values, self._clock()]
        if key is not None:
            where, values = [*where, "scope = ?"], [*values, self._hashed(key)]
        if conversation is not None:
            where, values = [*where, "conversation = ?"], [*values, self._hashed(conversation)]
        with self._transaction() as db:
            gone = db.execute(f"DELETE FROM originals WHERE {' AND '.join(where)}", values)
        return gone.rowcount

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _hashed(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode("utf-8", "surrogatepass"), "sha256")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # A fork waits for the end: another one with this file may wait for it inside SQLite.
        with no_fork, self._lock, self._db:
            yield self._db


def _private_file(path: Path) -> None:
    """Make the file with mode 0600; refuse one that others may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(
            f"Originals are for their owner only: {path} has mode {mode:o}; run chmod 600 on it."
        )
