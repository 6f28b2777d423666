"""Which documents a codec is fitted on: those whose id hashes lowest, whatever their order."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FIT_ROWS = 65_536


def id_hash(name: str, seed: int) -> int:
    """64 bits of blake2b of the id, keyed by the seed."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=str(seed).encode()[:64]).digest()
    return int.from_bytes(digest, "big")


def sample(ids: Sequence[str], seed: int, count: int = FIT_ROWS) -> NDArray[np.int64]:
    """Positions, ascending, of the `count` ids with the smallest hash."""
    if len(ids) <= count:
        return np.arange(len(ids))
    hashes = np.fromiter((id_hash(name, seed) for name in ids), np.uint64, len(ids))
    return np.sort(np.argsort(hashes, kind="stable")[:count])
