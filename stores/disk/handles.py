"""Reading the catalog's bytes beside SQLite without taking its locks away.

POSIX releases all locks that a process holds on a file when the process closes ANY descriptor of
it (https://www.sqlite.org/howtocorrupt.html, 2.2), so that another process may believe it is alone
and delete the log under us. Hence: as long as this process has a connection to a catalog, a
descriptor that we opened on it stays open; it is closed with the last connection.
"""

import os
import sqlite3
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from attar.stores.disk.connections import Connection
from attar.stores.disk.forking import no_fork

_CHUNK = 1 << 20
_Inode = tuple[int, int]


@dataclass
class _Users:
    """Connections and readers of one file in this process, and our descriptor of it."""

    count: int = 0
    fd: int | None = None


# Reentrant, for the garbage collector may close a connection anywhere.
_GUARD = threading.RLock()
_USED: dict[_Inode, _Users] = {}


def _enter(path: Path) -> _Inode:
    with no_fork, _GUARD:
        found = path.stat()
        inode = (found.st_dev, found.st_ino)
        _USED.setdefault(inode, _Users()).count += 1
        return inode


def _leave(inode: _Inode) -> None:
    with no_fork, _GUARD:
        users = _USED[inode]
        users.count -= 1
        if not users.count:
            del _USED[inode]
            if users.fd is not None:
                os.close(users.fd)


class CatalogConnection(Connection):
    """A connection that counts as a user of its file until it is closed."""

    _inode: _Inode | None = None

    def close(self) -> None:
        """Close the connection, then what waits for it."""
        super().close()
        if self._inode is not None:
            inode, self._inode = self._inode, None
            _leave(inode)


def connect_file(path: Path, mode: str) -> CatalogConnection:
    """Open an existing SQLite file; mode "ro" or "rw". Transactions are explicit."""
    inode = _enter(path)
    try:
        connection = CatalogConnection(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    except BaseException:
        _leave(inode)
        raise
    connection._inode = inode
    return connection


def is_current(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file that the connection opened is still the one of this name."""
    found = path.stat()
    own = getattr(connection, "_inode", None)
    return own == (found.st_dev, found.st_ino)


def file_crc(path: Path) -> tuple[int, int]:
    """Size and crc32 of a file that SQLite may have open."""
    inode = _enter(path)
    try:
        with no_fork, _GUARD:
            users = _USED[inode]
            if users.fd is None:
                users.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fd = users.fd
        size = crc = 0
        while chunk := os.pread(fd, _CHUNK, size):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
        return size, crc
    finally:
        _leave(inode)
