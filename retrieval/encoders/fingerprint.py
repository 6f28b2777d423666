"""Fingerprints: a hash of everything that decides an encoder's numbers, and of nothing else."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

DIGEST_BYTES = 16
_BLOCK = 1 << 20


def fingerprint_of(parts: Iterable[tuple[str, str | Path | bytes | memoryview]]) -> str:
    """Hex blake2b (16 bytes) over labelled parts; a Path stands for the bytes of that file.

    Every part is hashed on its own, and the fingerprint is the hash of the lines `label=digest`, so
    that no two lists of parts run into each other.
    """
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for label, part in parts:
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        if isinstance(part, Path):
            with part.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
        whole.update(f"{label}={digest.hexdigest()}\n".encode())
    return whole.hexdigest()
