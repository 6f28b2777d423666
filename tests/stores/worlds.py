"""Documents and stores that the tests of this room share."""

import hashlib
from pathlib import Path

import numpy as np

import attar
from attar.stores.disk import texts
from attar.stores.store import Store

DIM = 12


class Words:
    """A real, if small, encoder: a text is the sum of the hashed directions of its words."""

    def __init__(self, dim=DIM, name="words", salt="", fingerprint=None):
        self.name, self.dim, self.salt = name, dim, salt
        self.fingerprint = fingerprint or f"words-{dim}-{salt}"

    def direction(self, word):
        digest = hashlib.blake2b(f"{self.salt}{word}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big")).normal(size=self.dim)

    def encode_documents(self, texts):
        rows = [sum(self.direction(w) for w in f"{t} .".split()) for t in texts]
        return np.asarray(rows, np.float32)

    encode_queries = encode_documents


def documents(n, dim=DIM, seed=0):
    """Off the origin, decaying spectrum, norms that differ."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim)) * np.arange(1, dim + 1) ** -0.7 + rng.normal(size=dim)
    return (x * rng.uniform(0.5, 2, size=(n, 1))).astype(np.float32)


def pack_early(setattr=setattr):
    """Compress texts from 500 characters on; pass monkeypatch.setattr to have it undone."""
    setattr(texts, "FIRST_CHARACTERS", 500)
    setattr(texts, "SHARE", 4)


def names(n, prefix="d"):
    return [f"{prefix}{i}" for i in range(n)]


def reopen(path, mode="r", **options):
    return Store.open(path, mode, load_codec=attar.load_codec, load_recipe=attar.codec, **options)


def content(folder: Path):
    """Every file with its bytes, but for the index of the write-ahead log (locks of readers)."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith("-shm"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
