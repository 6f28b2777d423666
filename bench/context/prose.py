"""Token streams of public-domain prose and Wikipedia: which texts train, which are held out."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import DATA

HELD_OUT = ("wikitext-2/test", "gutenberg/carroll-alice", "gutenberg/chesterton-brown")
"""Texts that no training sees; the others train."""

Ids = NDArray[np.int32]


def streams(tokenizer: Any) -> tuple[list[Ids], list[Ids]]:
    """Return token ids of the training texts and of the held-out texts, one array each."""
    files = sorted((DATA / "text").glob("*/*.txt.gz"))
    named = {str(f.relative_to(DATA / "text")).removesuffix(".txt.gz"): f for f in files}
    train = [_ids(f, tokenizer) for n, f in named.items() if n not in HELD_OUT]
    return train, [_ids(named[n], tokenizer) for n in HELD_OUT]


def _ids(file: Path, tokenizer: Any) -> Ids:
    text = gzip.decompress(file.read_bytes()).decode("utf-8", "replace")
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return np.asarray(ids, dtype=np.int32)


def window(texts: Sequence[Ids], size: int, rng: np.random.Generator) -> list[int]:
    """Return `size` consecutive tokens from anywhere in the texts, all places alike."""
    room = np.array([max(0, len(t) - size) for t in texts])
    place = int(rng.integers(room.sum()))
    for text, n in zip(texts, room, strict=True):
        if place < n:
            return [int(i) for i in text[place : place + size]]
        place -= n
    raise ValueError(f"No text has {size} tokens.")
