"""From an older format to the present one, when a writer opens the store.

1. The catalog is written anew beside the old one, texts compressed, full-text index made again.
2. One rename puts it in place (`disk.swap`). A crash before leaves the old format whole, a crash
   after it the new one; segments and codecs are the same files in both.

Readers open every format that is known here and change nothing.
"""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attar.stores.disk import catalog
from attar.stores.disk import texts as packing
from attar.stores.disk.change import unseal
from attar.stores.disk.documents import SAMPLED, characters
from attar.stores.disk.durable import explained
from attar.stores.disk.library import chunks, marks
from attar.stores.disk.seal import check_seal, read_seal
from attar.stores.disk.swap import replace_catalog, settle
from attar.stores.errors import CorruptStoreError, StoreLockedError
from attar.stores.hybrid import text_index

logger = logging.getLogger(__name__)
_BATCH = 1000
_SAME = ("codecs", "segments", "attributes", "tombstones")


def migrate(folder: Path, timeout: float = 0.0) -> bool:
    """Bring a store to the present format; returns whether there was anything to do.

    The caller holds the writer's lock. Waits `timeout` seconds for readers to let go.
    """
    connection = catalog.connect(folder, write=True)
    try:
        found = catalog.format_of(connection)
        if found in (catalog.FORMAT, catalog.UPGRADING):
            return False
        meta = catalog.read_meta(connection)
        _check_witness(folder, int(meta["counter"]))
        unseal(folder)
        _settle(folder, connection, timeout, found)
        logger.info("%s: from format %d to %d", folder, found, catalog.FORMAT)
        with explained("Migrating a store", folder):
            replace_catalog(folder, meta, lambda new: _fill(new, connection, meta), lambda: None)
        return True
    finally:
        connection.close()


def _check_witness(folder: Path, counter: int) -> None:
    seal = read_seal(folder)
    check_seal(seal, folder / catalog.NAME, limit=None)
    if counter < seal.counter:
        raise CorruptStoreError(
            f"{folder} was at commit {seal.counter}, its catalog only knows {counter}. Run "
            "Store.repair to go on from the older commit, or restore a backup."
        )


def _settle(folder: Path, connection: sqlite3.Connection, timeout: float, found: int) -> None:
    try:
        settle(folder, connection, timeout)
    except StoreLockedError as error:
        raise StoreLockedError(
            f"{folder} has format {found} and is brought to {catalog.FORMAT} by the first writer, "
            "once nobody reads it; somebody does. Close the readers, or wait with timeout=SECONDS."
        ) from error


def _fill(new: sqlite3.Connection, old: sqlite3.Connection, meta: dict[str, Any]) -> None:
    with catalog.readable(Path(catalog.NAME)):
        for table in _SAME:
            rows = old.execute(f"SELECT * FROM {table}")
            new.executemany(f"INSERT INTO {table} VALUES({marks(list(rows.description))})", rows)
        press = _press(new, old, meta)
        if meta["text_index"]:
            new.execute(text_index.TABLE)
        for some in _documents(old):
            new.executemany(
                "INSERT INTO documents VALUES(?, ?, ?, ?, ?)",
                [
                    (slot, name, packing.packed(text, press), packing.packed(notes, press), crc)
                    for slot, name, text, notes, crc in some
                ],
            )
            if meta["text_index"]:
                text_index.insert(new, [(slot, text) for slot, _, text, _, _ in some])


def _documents(old: sqlite3.Connection) -> Iterator[list[tuple[Any, ...]]]:
    rows = old.execute("SELECT row, id, text, metadata, crc FROM documents ORDER BY row")
    while some := rows.fetchmany(_BATCH):
        yield some


def _press(new: sqlite3.Connection, old: sqlite3.Connection, meta: dict[str, Any]) -> Any:
    """Train a dictionary on documents that lie evenly, if there is enough text for one."""
    total = sum(characters([t for r in some for t in r[2:4]]) for some in _documents(old))
    catalog.write_meta(new, {"characters": total})
    if total < packing.FIRST_CHARACTERS:
        return None
    slots = [row for (row,) in old.execute("SELECT row FROM documents ORDER BY row")]
    samples: list[str | None] = []
    for chunk in chunks(list(packing.spread(slots, SAMPLED))):
        sql = f"SELECT text, metadata FROM documents WHERE row IN ({marks(chunk)})"
        samples += [text for pair in old.execute(sql, chunk) for text in pair]
    catalog.write_meta(new, {"trained_at": total})
    content = packing.train(samples, 1)
    if content is None:
        return None
    packing.write_dictionary(new, 1, content)
    return packing.compressor(content)
