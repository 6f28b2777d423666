"""The table of an archive, checked before anything is written: archives come from others."""

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from attar.retrieval.archive.packed_codes import expand

MOST_TABLE = 1 << 28
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One file: where it goes, its size and SHA-256, and how many bytes of the archive it takes.

    codes: of these, what the packed arrays of a segment take; None for other files.
    """

    path: str
    size: int
    sha256: str
    nbytes: int
    codes: int | None


def read_entries(table: bytes, room: int) -> list[Entry]:
    """Entries of a table whose files take `room` bytes; ValueError for anything else."""
    try:
        entries = [_entry(one) for one in json.loads(expand(table, MOST_TABLE))["files"]]
    except (KeyError, TypeError, RecursionError, ValueError) as error:
        raise ValueError(
            f"The archive is damaged: its table is not readable ({error!r:.120}); restore it from "
            "a backup."
        ) from error
    if sum(entry.nbytes for entry in entries) != room:
        raise ValueError(f"The archive is damaged: its table is not of files of {room} bytes.")
    if len({entry.path for entry in entries}) != len(entries):
        raise ValueError("The archive is damaged: it names a file twice.")
    return entries


def _entry(one: dict[str, Any]) -> Entry:
    path, sha256 = one["path"], one["sha256"]
    if not isinstance(path, str) or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise TypeError("a path and a SHA-256 are strings")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
        raise ValueError(f"it names a file outside of the store: {path!r:.80}")
    if one["kind"] not in ("file", "segment"):
        raise ValueError(f"a file of the kind {one['kind']!r:.40}")
    size, nbytes = _count(one["size"]), _count(one["nbytes"])
    codes = _count(one["codes"], nbytes) if one["kind"] == "segment" else None
    return Entry(path, size, sha256, nbytes, codes)


def _count(value: object, most: int = 1 << 60) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise TypeError(f"a number of bytes is {value!r:.40}")
    return value
