"""The write-ahead log of the catalog beside readers.

SQLite writes its log from the start again only when no reader is in it. A reader leaves it by
starting a new transaction after everything was folded into the catalog, and that folding stops at
the oldest reader: so each reader has to refresh twice between two commits. Beside a writer without
pauses that never happens by itself, however often they refresh.

Hence a writer whose log is large waits a little before a change. Readers that refresh every second
let it start again; for one that stays, the next wait is at twice the size: a reader delays a writer
by seconds in all, it never stops it.
"""

import logging
import sqlite3
import time

from attar.stores.disk.catalog import BUSY_MS, NAME
from attar.stores.disk.library import Library

logger = logging.getLogger(__name__)

LIMIT = 256 << 20
"""Bytes of the log from which a writer waits for readers."""
PATIENCE = 2.5
PAUSE = 0.02


def fold(library: Library) -> None:
    """Empty a large log; a disk that refuses, and readers that stay, leave it as it is."""
    size = _size(library)
    if size < LIMIT:
        return
    patient = size >= library.patient_from
    end = time.monotonic() + (PATIENCE if patient else 0)
    while not (folded := _try(library)) and time.monotonic() < end:
        time.sleep(PAUSE)
    if folded:
        library.patient_from = 0
    elif patient:
        library.patient_from = 2 * size


def _size(library: Library) -> int:
    log = library.folder / f"{NAME}-wal"
    return log.stat().st_size if log.exists() else 0


def _try(library: Library) -> bool:
    """One attempt, without waiting inside SQLite: this store's own searches go on between two."""
    with library.guard:
        connection = library.connection
        connection.execute("PRAGMA busy_timeout=0")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            logger.warning("The log of %s is not folded in: %s", library.folder, error)
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return not busy
