"""What one actor of a build does: a block in, a file out that says that it is done."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.codec import FittedCodec
from attar.retrieval.extras import require
from attar.retrieval.indexing.blocks import Block, BlockReader, Corpus, read_vectors
from attar.retrieval.indexing.embed import embed_documents
from attar.retrieval.sources import NpySource
from attar.stores import adoption
from attar.stores.adoption import Form
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.durable import write_file
from attar.stores.disk.library import codec_hash
from attar.stores.protocols import Codec, Encoder
from attar.stores.types import Float32

CODEC = "codec.safetensors"


@dataclass(frozen=True)
class Task:
    """What every worker of a build knows.

    parts: folder of the finished blocks. as_vectors: how many of the blocks are wanted as vectors;
    the others as segments, once the codec lies among the parts.
    """

    corpus: Corpus
    encoder: Encoder | None
    parts: Path
    blocks: tuple[Block, ...]
    as_vectors: int
    metric: str
    fingerprint: str
    originals: bool

    def vectors(self, block: Block) -> Path:
        """File of a block that is embedded, `.npy`."""
        return self.parts / f"{block.number:08d}.npy"

    def segments(self, block: Block) -> Path:
        """File that names the segments of a block that is encoded."""
        return self.parts / f"{block.number:08d}.json"

    def is_done(self, block: Block) -> bool:
        """Whether the block was finished, now or by an earlier run."""
        return self.vectors(block).is_file() or self.segments(block).is_file()

    def publish(self, codec: Codec) -> None:
        """Lay the fitted codec where workers look for it."""
        write_file(self.parts / CODEC, codec.dump())

    def form(self) -> Form | None:
        """What segments are like, once the codec is there."""
        try:
            content = (self.parts / CODEC).read_bytes()
        except FileNotFoundError:
            return None
        codec = FittedCodec.load(content)
        name = codec_hash(content)
        return Form(codec, name, self.metric, self.fingerprint, self.originals)

    def encode(self, block: Block, form: Form, ids: Sequence[str], vectors: Float32) -> None:
        """Write the segments of a block and then the file that names them."""
        done = self.segments(block)
        # Another worker may be at this block, which was believed lost.
        stem = f"{done.stem}-{os.getpid()}"
        rows = adoption.prepare(self.parts, stem, form, block.slot, ids, vectors)
        draft = self.parts / f".{stem}.json"
        draft.write_text(json.dumps([asdict(row) for row in rows]))
        draft.rename(done)

    def encoded(self, block: Block) -> list[SegmentRow]:
        """Segments of a finished block; one that was embedded before the codec is encoded here."""
        if not self.segments(block).is_file():
            form = self.form()
            if form is None:
                raise FileNotFoundError(f"{self.parts / CODEC} is gone; build again.")
            ids = [f"row {row} of block {block.number}" for row in range(block.count)]
            self.encode(block, form, ids, np.load(self.vectors(block)))
        return [SegmentRow(**row) for row in json.loads(self.segments(block).read_text())]


class BlockWorker:
    """An actor of Ray Data: block numbers in, the same numbers out once their files are there.

    What a document or an encoder did wrong comes out beside the number, as the sentence that the
    one-machine build would raise; Ray's own errors are raised by Ray.
    """

    def __init__(self, task: Any) -> None:
        ray = require("ray", "ray")
        self._task: Task = ray.get(task) if isinstance(task, ray.ObjectRef) else task
        self._blocks = {block.number: block for block in self._task.blocks}
        self._wanted_as_vectors = {b.number for b in self._task.blocks[: self._task.as_vectors]}
        self._reader = BlockReader(self._task.corpus)
        self._form: Form | None = None
        _one_thread()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the blocks of a batch."""
        refused = []
        for number in batch["block"]:
            block, why = self._blocks[int(number)], ""
            try:
                if not self._task.is_done(block):
                    self._do(block)
            except ValueError as error:
                why = str(error)
            refused.append(why)
        return {**batch, "refused": refused}

    def _do(self, block: Block) -> None:
        task = self._task
        ids, vectors = self._embedded(block)
        if block.number not in self._wanted_as_vectors:
            self._form = self._form or task.form()
            if self._form is not None:
                task.encode(block, self._form, ids, vectors)
                return
        draft = task.parts / f".{block.number:08d}-{os.getpid()}.npy"
        np.save(draft, vectors)
        draft.rename(task.vectors(block))

    def _embedded(self, block: Block) -> tuple[list[str], Float32]:
        source = self._task.corpus.source
        if isinstance(source, NpySource):
            return read_vectors(source, block)
        documents = self._reader.documents(block)
        encoder = self._task.encoder
        if encoder is None:
            raise ValueError("A corpus of texts needs an encoder; pass one, or pass vectors.")
        vectors = embed_documents(encoder, [document.text for document in documents])
        return [document.id for document in documents], vectors


def _one_thread() -> None:
    """Sums over another number of threads differ in their last bits."""
    import faiss
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    faiss.omp_set_num_threads(1)
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)
