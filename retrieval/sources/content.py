"""Bytes of corpus files: decompressed, decoded, hashed, a block at a time."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from attar.retrieval.sources.source import SourceError

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, through gzip when its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their number from 1, line ends kept, a byte order mark removed."""
    with open_bytes(path) as file:
        lines = enumerate(file, 1)
        number = 0
        try:
            for number, line in lines:
                yield number, line.removeprefix(_BOM) if number == 1 else line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(
                f"{path} is a broken gzip file after line {number} ({error}); copy it again."
            ) from error


def decoded(line: bytes, path: Path, number: int) -> str:
    """One line as text; SourceError when it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"Text is UTF-8, got byte 0x{line[error.start]:02x} at position {error.start} of "
            f"{path}:{number}; convert the file (iconv -t utf-8)."
        ) from error


def content_hash(settings: Iterable[str], files: Iterable[tuple[str, Path]]) -> str:
    """Hex blake2b (16 bytes) over settings and named files, read as they lie on disk.

    Every file enters as `name`, digest of its bytes: neither a renamed nor a moved byte goes by.
    """
    whole = hashlib.blake2b(digest_size=16)
    for setting in settings:
        whole.update(f"{len(setting.encode())}:{setting}\n".encode())
    for name, path in files:
        digest = hashlib.blake2b(digest_size=16)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        whole.update(f"{len(name.encode())}:{name}={digest.hexdigest()}\n".encode())
    return whole.hexdigest()
