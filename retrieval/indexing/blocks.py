"""A plan cut into blocks that anybody can do alone, in any order, more than once.

Blocks are the batches of the one-machine build: cut by the order of the source, phase by phase. A
block knows where its documents begin, so that a worker reads them without what lies before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from attar.retrieval.indexing.build import Plan, first_phase
from attar.retrieval.indexing.sample import Sample
from attar.retrieval.sources import Document, NpySource, Source
from attar.retrieval.sources.source import Mark, Placed
from attar.stores.types import Float32


@dataclass(frozen=True)
class Block:
    """`count` documents of a phase from `mark` on.

    slot: of the first of them in the finished store. next: number in the source after the last.
    """

    number: int
    phase: str
    mark: Mark
    count: int
    slot: int
    next: int


@dataclass(frozen=True)
class Corpus:
    """Where blocks are read: the source and which of its documents the sample holds.

    whole: there is one phase only, which takes every document.
    """

    source: Source
    sample: Sample
    whole: bool


def corpus_of(plan: Plan) -> Corpus:
    """What a worker needs of a plan to read its blocks."""
    vectors = isinstance(plan.source, NpySource)
    return Corpus(plan.source, plan.sample, vectors or first_phase(plan) == "rest")


def cut_blocks(plan: Plan) -> list[Block]:
    """All blocks in the order in which the one-machine build adds them; reads the source once."""
    corpus = corpus_of(plan)
    phases = ("rest",) if corpus.whole else ("sample", "rest")
    opened: dict[str, list[tuple[Mark, int]]] = {phase: [] for phase in phases}
    counts = dict.fromkeys(phases, 0)
    ends: dict[str, list[int]] = {phase: [] for phase in phases}
    size = plan.manifest.batch
    for number, (mark, name) in enumerate(_names(plan.source)):
        phase = "sample" if not corpus.whole and name in plan.sample else "rest"
        if counts[phase] % size == 0:
            opened[phase].append((mark, counts[phase]))
            ends[phase].append(0)
        counts[phase] += 1
        ends[phase][-1] = number + 1
    blocks: list[Block] = []
    before = 0
    for phase in phases:
        for (mark, slot), end in zip(opened[phase], ends[phase], strict=True):
            count = min(size, counts[phase] - slot)
            blocks.append(Block(len(blocks), phase, mark, count, before + slot, end))
        before += counts[phase]
    return blocks


def _names(source: Source) -> Iterator[tuple[Mark, str]]:
    if isinstance(source, NpySource):
        # Without the vectors, which the first pass has checked.
        yield from (
            (Mark(row), name) for row, name in enumerate(source.ids_between(0, len(source)))
        )
    else:
        yield from ((mark, document.id) for mark, document in source.marked())


def read_vectors(source: NpySource, block: Block) -> tuple[list[str], Float32]:
    """Ids and rows of a block of precomputed vectors."""
    ids, rows = next(source.blocks(block.mark.whole, block.count))
    return ids, np.asarray(rows, np.float32)


class BlockReader:
    """Reads blocks; those that come in order are read in one pass over the source."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._at = 0
        self._last: Placed | None = None
        self._rest: Iterator[Placed] | None = None

    def documents(self, block: Block) -> list[Document]:
        """Documents of a block, in the order of the source."""
        return list(islice(self._of_phase(block), block.count))

    def _of_phase(self, block: Block) -> Iterator[Document]:
        corpus = self._corpus
        skipped = block.mark.piece
        for placed in self._from(block.mark.whole):
            for piece in islice(corpus.source.pieces(placed), skipped, None):
                name = piece.document.id
                if corpus.whole or (name in corpus.sample) == (block.phase == "sample"):
                    yield piece.document
            skipped = 0

    def _from(self, whole: int) -> Iterator[Placed]:
        """Whole documents from number `whole` on; the last one that was read may be read again."""
        if self._rest is None or whole < self._at - 1:
            self._rest, self._at, self._last = self._corpus.source.read(whole), whole, None
        if whole == self._at - 1 and self._last is not None:
            yield self._last
        for placed in self._rest:
            self._last, self._at = placed, self._at + 1
            if self._at > whole:
                yield placed
