"""Putting another catalog in the place of a store's: made beside it, durable, then ONE rename.

SQLite finds a write-ahead log by the catalog's name, so a log that was left beside a new catalog
would be played into it. The log of the old one must therefore be gone before the rename (`settle`).
Readers stay on the file that they opened and follow at their next refresh.
"""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attar.stores.disk import catalog, connections
from attar.stores.disk.durable import fsync_folder
from attar.stores.disk.handles import file_crc
from attar.stores.disk.seal import Seal, write_seal

DRAFT = "draft-"


def settle(folder: Path, connection: sqlite3.Connection, timeout: float) -> None:
    """Fold the log into the catalog and remove it; raises StoreLockedError when somebody reads."""
    connection.execute(f"PRAGMA busy_timeout={int(1000 * timeout)}")
    with catalog.readable(folder / catalog.NAME):
        connection.execute("PRAGMA journal_mode=DELETE")


def replace_catalog(
    folder: Path,
    meta: dict[str, Any],
    fill: Callable[[sqlite3.Connection], None],
    before: Callable[[], None],
) -> None:
    """Make a catalog with `fill` in one transaction and swap it in; `before` runs just before."""
    draft = folder / f"{DRAFT}{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        catalog.create(draft, meta)
        connection = connections.connect(draft / catalog.NAME, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            fill(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()
        _fsync(draft / catalog.NAME)
        size, crc = file_crc(draft / catalog.NAME)
        before()
        (draft / catalog.NAME).rename(folder / catalog.NAME)
        # The witness must not say the new catalog's checksum before its name is durable.
        fsync_folder(folder)
        write_seal(folder, Seal(int(meta["counter"]), True, size, crc), durable=True)
        fsync_folder(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_drafts(folder: Path) -> list[str]:
    """Remove what a replacement that was cut off left behind; returns the names."""
    drafts = [p for p in folder.glob(f"{DRAFT}*") if p.is_dir() and not p.is_symlink()]
    for draft in drafts:
        shutil.rmtree(draft)
    return [draft.name for draft in drafts]
