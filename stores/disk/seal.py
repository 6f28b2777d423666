"""The file `commit`: a witness of the last commit, outside the catalog.

32 bytes, little endian: magic b"ATTC" | flags u32 (1 = sealed) | counter u64 | size u64 |
crc32 of catalog.sqlite u32 | crc32 of the 28 bytes before u32.

It is written after each commit, so its counter may lag behind the catalog's but never lead: a
leading one means that SQLite dropped committed transactions (a damaged write-ahead log). A writer
that closes cleanly seals it with size and crc32 of the whole catalog; a sealed catalog of at most
`CHECKED_BYTES` is compared at every open, a larger one by `verify`.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from attar.stores.disk.handles import file_crc
from attar.stores.errors import CorruptStoreError

NAME = "commit"
CHECKED_BYTES = 64 << 20
_FORM = struct.Struct("<4sIQQI")
_MAGIC = b"ATTC"


@dataclass(frozen=True)
class Seal:
    """What the witness says; size and crc mean something only when it is sealed."""

    counter: int
    sealed: bool = False
    size: int = 0
    crc: int = 0


def read_seal(folder: Path) -> Seal:
    """Read the witness of a store."""
    path = folder / NAME
    content = path.read_bytes() if path.exists() else b""
    body, check = content[: _FORM.size], content[_FORM.size :]
    if len(content) != _FORM.size + 4 or zlib.crc32(body) != int.from_bytes(check, "little"):
        raise CorruptStoreError(
            f"{path} is missing or damaged. Run Store.verify to see whether anything else is, and "
            "Store.repair to write it anew."
        )
    magic, flags, counter, size, crc = _FORM.unpack(body)
    if magic != _MAGIC or flags > 1:
        raise CorruptStoreError(f"{path} is not a commit witness. Run Store.repair.")
    return Seal(counter, bool(flags), size, crc)


def write_seal(folder: Path, seal: Seal, durable: bool) -> None:
    """Write the witness in place; 32 bytes lie in one sector."""
    body = _FORM.pack(_MAGIC, int(seal.sealed), seal.counter, seal.size, seal.crc)
    fd = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(fd, body + zlib.crc32(body).to_bytes(4, "little"), 0)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def check_seal(seal: Seal, catalog: Path, limit: int | None = CHECKED_BYTES) -> None:
    """Compare a sealed catalog with its witness; `limit` None compares one of any size."""
    size = catalog.stat().st_size
    wal = catalog.with_name(catalog.name + "-wal")
    if not seal.sealed or (wal.exists() and wal.stat().st_size):
        return
    if size != seal.size:
        raise _damaged(catalog, f"{size} bytes instead of {seal.size}")
    if limit is not None and size > limit:
        return
    crc = file_crc(catalog)[1]
    if crc != seal.crc:
        raise _damaged(catalog, f"crc32 {crc:08x} instead of {seal.crc:08x}")


def _damaged(catalog: Path, got: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"{catalog} is not what was committed: {got}. Run Store.verify for the extent, "
        "Store.repair to keep what is whole, or restore a backup."
    )
