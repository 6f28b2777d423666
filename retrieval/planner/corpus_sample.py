"""A sample of a corpus and queries to ask it, in one pass, bounded memory.

Documents are those whose id hashes lowest (`stores.sample`): they depend on ids and seed, not on
the order. Without queries, the first of them become pseudo-queries and leave the sample: of a text
one sentence, drawn by the seed and embedded as a query; of a bare vector the vector itself. A
sentence resembles its neighbourhood more than a question does, a whole document more still; the
page docs/planner.md gives what that was measured to do to predictions.
"""

import heapq
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from attar.retrieval.indexing.embed import embed_documents
from attar.retrieval.sources import Document, NpySource, Source
from attar.stores.protocols import Encoder
from attar.stores.sample import id_hash
from attar.stores.types import Float32

SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
LEAST_WORDS = 4
HELD_OUT_SHARE = 10


@dataclass(frozen=True)
class CorpusSample:
    """ids and documents float32 [s d]; queries [m d]; total n of the corpus; origin: of queries."""

    ids: tuple[str, ...]
    documents: Float32
    queries: Float32
    total: int
    origin: str


def draw_sample(
    source: Source,
    encoder: Encoder | None,
    size: int,
    queries: Float32 | None,
    pseudo: int,
    seed: int,
    always: Collection[str] = (),
    advance: Callable[[int], None] = lambda count: None,
) -> CorpusSample:
    """Draw `size` documents, or all there are, and take or make queries.

    pseudo: how many to make at most, a tenth of the corpus at most. always: ids that are in the
    sample whatever they hash to (judged documents).
    """
    held = 0 if queries is not None else pseudo
    size = max(size, len(always))
    chosen, total = _lowest(source, size + held, seed, frozenset(always))
    held = min(held, total // HELD_OUT_SHARE)
    if queries is None and not held:
        raise ValueError(
            f"Pseudo-queries are a tenth of the corpus, which has {total} documents; pass "
            "--queries, or plan for at least ten documents."
        )
    asked, kept = chosen[:held], chosen[held : held + size]
    texts = None if isinstance(source, NpySource) else encoder
    vectors = _vectors(source, texts, kept, advance)
    if queries is not None:
        return CorpusSample(_ids(kept), vectors, queries, total, "given")
    if texts is None:
        return CorpusSample(
            _ids(kept), vectors, _vectors(source, None, asked, advance), total, "held-out vectors"
        )
    sentences = [one_sentence(document.text, seed) for _, document in asked]
    made = texts.encode_queries(sentences)
    return CorpusSample(_ids(kept), vectors, made, total, "sentences of held-out documents")


def one_sentence(text: str, seed: int) -> str:
    """One sentence of at least four words, drawn by seed and text; the whole text without one."""
    parts = [part.strip() for part in SENTENCE.split(text)]
    long_enough = [part for part in parts if len(part.split()) >= LEAST_WORDS]
    if not long_enough:
        return text
    return long_enough[id_hash(text, seed) % len(long_enough)]


Numbered = tuple[int, Document]


def _lowest(
    source: Source, count: int, seed: int, always: frozenset[str]
) -> tuple[list[Numbered], int]:
    """Documents with the lowest hashes, lowest first, each with its row, and how many there are.

    Those of `always` come first of all.
    """
    heap: list[tuple[int, int, Document]] = []
    total = 0
    for row, document in enumerate(_documents(source)):
        total += 1
        rank = -1 if document.id in always else id_hash(document.id, seed)
        if len(heap) < count:
            heapq.heappush(heap, (-rank, row, document))
        elif -rank > heap[0][0]:
            heapq.heapreplace(heap, (-rank, row, document))
    ordered = sorted(heap, key=lambda entry: (-entry[0], entry[1]))
    return [(row, document) for _, row, document in ordered], total


def _documents(source: Source) -> Iterator[Document]:
    if not isinstance(source, NpySource):
        yield from source
        return
    for start in range(0, len(source), 65_536):
        for name in source.ids_between(start, min(len(source), start + 65_536)):
            yield Document(name, "", {})


def _ids(chosen: list[Numbered]) -> tuple[str, ...]:
    return tuple(document.id for _, document in chosen)


def _vectors(
    source: Source,
    encoder: Encoder | None,
    chosen: list[Numbered],
    advance: Callable[[int], None],
) -> Float32:
    if isinstance(source, NpySource):
        rows = np.array([row for row, _ in chosen])
        order = np.argsort(rows)
        vectors = np.empty((len(rows), source.dim), np.float32)
        vectors[order] = source.vectors[rows[order]]
        return vectors
    if encoder is None:
        raise ValueError("A corpus of texts needs an encoder; pass one, or pass vectors.")
    return embed_documents(encoder, [document.text for _, document in chosen], advance)
