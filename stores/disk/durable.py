"""Writes that survive power loss, and what a full disk says."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a new file and make it durable, name included; an existing one is replaced whole."""
    draft = path.with_name(path.name + ".tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        fsync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def copy_file(source: Path, target: Path) -> None:
    """A second name for a file that nobody changes, or a durable copy on another device."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def explained(doing: str, folder: Path) -> Iterator[None]:
    """Turn what a full or failing disk raises into one OSError that states the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(error.errno, _full(doing, folder, error.strerror or str(error))) from error
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name != "SQLITE_FULL" and not name.startswith("SQLITE_IOERR"):
            raise
        # A failing write under SQLite is EIO there, whatever the system said.
        number = errno.ENOSPC if name == "SQLITE_FULL" else errno.EIO
        raise OSError(number, _full(doing, folder, str(error))) from error


def _full(doing: str, folder: Path, said: str) -> str:
    return (
        f"{doing} needs room on the device of {folder}; the system says: {said}. The store is at "
        "its last commit, nothing of this call was kept. Free space (or raise the file-size "
        "limit) and repeat the call."
    )
