"""50,000 real passages with MiniLM vectors: six judged collections, the rest cut from books.

    python -m bench.ecosystem.passages    # embeds what is missing, resumable; minutes of one core

Vectors are kept in `$ATTAR_CACHE` (a folder of the system's temporary one without it).
"""

import gzip
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

import attar
from attar.retrieval.sources import read_qrels, read_queries, read_source
from bench.machine import DATA

COLLECTIONS = ("scifact", "cranfield", "squad", "cisi", "pubmedqa", "dbpedia-5k")
COUNT = 50_000
WORDS = 40
"""Of a passage of prose: so short that WikiText-2 and the books fill the 50,000 without overlap."""
SLICE = 1024
CACHE = Path(os.environ.get("ATTAR_CACHE", Path(tempfile.gettempdir()) / "attar-bench"))


@dataclass(frozen=True)
class Passages:
    """ids `<collection>/<id>`, texts, vectors float32 [n d]."""

    ids: list[str]
    texts: list[str]
    vectors: np.ndarray


@dataclass(frozen=True)
class Questions:
    """Judged queries of one collection: ids, vectors float32 [m d], judgements."""

    ids: list[str]
    vectors: np.ndarray
    qrels: dict[str, dict[str, int]]


def passages(count: int = COUNT) -> Passages:
    """The first `count` passages; judged ones come first."""
    documents = list(islice(chain(_judged(), prose()), count))
    if len(documents) < count:
        raise ValueError(f"{count:,} passages are asked for, {DATA} has {len(documents):,}.")
    ids, texts = [name for name, _ in documents], [text for _, text in documents]
    return Passages(ids, texts, _embedded("passages", texts))


def questions(name: str) -> Questions:
    """Judged queries of a collection."""
    qrels = read_qrels(DATA / "ir" / name)
    texts = {q: text for q, text in read_queries(DATA / "ir" / name).items() if q in qrels}
    return Questions(list(texts), _embedded(f"queries-{name}", list(texts.values())), qrels)


def _judged() -> Iterator[tuple[str, str]]:
    for name in COLLECTIONS:
        for document in read_source(DATA / "ir" / name):
            yield f"{name}/{document.id}", document.text


def prose() -> Iterator[tuple[str, str]]:
    """Passages of WORDS words of WikiText-2 and of books."""
    for file in sorted((DATA / "text").rglob("*.txt.gz")):
        words = _decoded(gzip.decompress(file.read_bytes())).split()
        for start in range(0, len(words) - WORDS + 1, WORDS):
            yield f"{file.name.split('.')[0]}/{start}", " ".join(words[start : start + WORDS])


def _decoded(content: bytes) -> str:
    """Some of the books are Latin-1."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _embedded(name: str, texts: list[str]) -> np.ndarray:
    """Unit vectors of texts; a slice that was embedded before is read. bfloat16 inside."""
    import torch

    encoder = attar.encoder("all-MiniLM-L6-v2")
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), SLICE):
        some = texts[start : start + SLICE]
        file = folder / f"{start:06d}-{len(some)}.npy"
        if not file.is_file():
            with torch.autocast("cpu", torch.bfloat16):
                x = encoder.encode_queries(some)
            draft = file.with_suffix(".tmp.npy")
            np.save(draft, x)
            draft.rename(file)
        parts.append(np.load(file))
    return np.concatenate(parts)


if __name__ == "__main__":
    for each in COLLECTIONS:
        questions(each)
    print(passages().vectors.shape)
