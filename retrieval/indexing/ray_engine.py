"""The same build on Ray Data: many actors embed and encode, one commit takes what they wrote.

1. The plan is cut into blocks, the batches of the one-machine build (`blocks`).
2. Actors (`block_worker`) embed them, one thread each, so that the numbers are those of one
   machine. Blocks of the sample come back as vectors and are added in order, which fits the codec.
3. From then on actors encode too, into immutable segments; one commit registers them all.

A finished block lies in the folder `<out>.parts` under its number. A worker that is lost costs the
block that it was at; a driver that is lost goes on with what lies there.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.indexing.block_worker import BlockWorker, Task
from attar.retrieval.indexing.blocks import (
    Block,
    BlockReader,
    corpus_of,
    cut_blocks,
    read_vectors,
)
from attar.retrieval.indexing.build import Advance, Plan
from attar.retrieval.sources import Document, NpySource
from attar.stores.inputs import Batch, check_batch
from attar.stores.store import Store
from attar.stores.types import Float32


@dataclass(frozen=True)
class RayEngine:
    """How much of a Ray cluster a build takes.

    workers: actors that embed and encode. cpus, gpus: logical ones that each of them holds.
    A cluster that `ray.init` or RAY_ADDRESS names is used; without one a local one is started, with
    two logical CPUs more than the workers hold. Every machine must see the folder of the store
    under the same path, and the source, unless that is a URI.
    """

    workers: int = 2
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.cpus <= 0 or self.gpus < 0:
            raise ValueError(
                f"A build has at least one worker, more than 0 cpus and 0 or more gpus each; got "
                f"{self.workers}, {self.cpus} and {self.gpus}."
            )

    def run(self, plan: Plan, store: Store, advance: Advance = lambda count: None) -> None:
        """Bring an open store to the end of its plan, as `run_build` does."""
        ray = require("ray", "ray")
        require("ray.data", "ray")
        parts = parts_of(plan.out)
        _begin(parts, plan, store)
        todo = _unfinished(cut_blocks(plan), store)
        task = Task(
            corpus_of(plan),
            plan.encoder,
            parts,
            tuple(todo),
            _as_vectors(plan, store, todo),
            str(store.metric),
            "" if plan.encoder is None else plan.encoder.fingerprint,
            plan.keep_originals,
        )
        own = todo and not ray.is_initialized()
        if own:
            self._start(ray)
        try:
            self._work(task, store, advance)
        finally:
            if own:
                ray.shutdown()
        store.compact()
        store.set_progress({"phase": "done", "next": plan.total})
        shutil.rmtree(parts, ignore_errors=True)

    def _start(self, ray: Any) -> None:
        """A cluster that is there already, or a local one."""
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # What reads and hands out needs CPUs too, or actors that hold all of them wait for ever.
        room = int(-(-self.workers * self.cpus // 1)) + 2
        ray.init(num_cpus=max(room, os.cpu_count() or 1), include_dashboard=False, **quiet)

    def _work(self, task: Task, store: Store, advance: Advance) -> None:
        """Have every block done; add those of the sample as they come, the others at the end."""
        reader, due = BlockReader(task.corpus), list(task.blocks[: task.as_vectors])
        rest = task.blocks[task.as_vectors :]
        if store.info()["fitted"]:
            task.publish(store.form.codec)
        counts = {block.number: block.count for block in task.blocks}
        for number in self._done(task):
            advance(counts[number])
            while due and task.vectors(due[0]).is_file():
                block = due.pop(0)
                _add(store, reader.documents(block), np.load(task.vectors(block)), block)
                if not due and rest:
                    task.publish(store.form.codec)
        if rest:
            rows = [row for block in rest for row in task.encoded(block)]
            noted = {"phase": "rest", "next": rest[-1].next}
            store.adopt(task.parts, rows, _batches(task, rest), noted)

    def _done(self, task: Task) -> Iterator[int]:
        """Numbers of the blocks as they are done, those first that were done before."""
        missing = []
        for block in task.blocks:
            if task.is_done(block):
                yield block.number
            else:
                missing.append(block.number)
        if not missing:
            return
        import ray
        from ray.data import ActorPoolStrategy, DataContext

        DataContext.get_current().enable_progress_bars = False
        # Actors that are made again ask for the task again: this reference must outlive them.
        held = ray.put(task)
        dataset = ray.data.from_items(
            [{"block": number} for number in missing], override_num_blocks=len(missing)
        ).map_batches(
            BlockWorker,
            fn_constructor_args=(held,),
            batch_size=1,
            compute=ActorPoolStrategy(size=min(self.workers, len(missing))),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        with _quiet():
            for row in dataset.iter_rows():
                if row["refused"]:
                    raise ValueError(row["refused"])
                yield int(row["block"])


def parts_of(out: Path) -> Path:
    """Where finished blocks lie until the store has them."""
    return out.with_name(f"{out.name}.parts")


def _begin(parts: Path, plan: Plan, store: Store) -> None:
    """Make the folder of the blocks; what another plan, or another codec, left there goes."""
    note = parts / "manifest.json"
    asked = json.dumps(plan.manifest.to_json(), sort_keys=True)
    if parts.exists() and not note.is_file():
        raise FileExistsError(f"{parts} is not of a build; remove it, or choose another --out.")
    if parts.exists() and note.read_text() != asked:
        shutil.rmtree(parts)
    parts.mkdir(exist_ok=True)
    note.write_text(asked)
    if not store.info()["fitted"]:
        for path in parts.iterdir():
            if path != note and path.suffix != ".npy":
                path.unlink()


def _unfinished(blocks: Sequence[Block], store: Store) -> list[Block]:
    """Blocks that the store does not have, by the progress that the one-machine build notes."""
    progress = store.progress or {"phase": blocks[0].phase, "next": 0}
    phases = list(dict.fromkeys(block.phase for block in blocks))
    at = phases.index(progress["phase"]) if progress["phase"] in phases else len(phases)
    return [
        block
        for block in blocks
        if (phases.index(block.phase), block.next) > (at, int(progress["next"]))
    ]


def _as_vectors(plan: Plan, store: Store, todo: Sequence[Block]) -> int:
    """How many of the blocks must be added before the codec is fitted; the store says when."""
    if store.info()["fitted"]:
        return 0
    needed = 1
    if plan.recipe.learns and plan.encoder is not None:
        needed = max(plan.sample.size, plan.recipe.min_rows(plan.encoder.dim))
    return next((i for i, block in enumerate(todo) if block.slot >= needed), len(todo))


def _add(store: Store, documents: list[Document], vectors: Float32, block: Block) -> None:
    store.add(
        [document.id for document in documents],
        vectors=vectors,
        texts=[document.text for document in documents],
        metadata=[dict(document.metadata) for document in documents],
        progress={"phase": block.phase, "next": block.next},
    )


def _batches(task: Task, blocks: Sequence[Block]) -> Iterator[Batch]:
    """Documents of blocks, in order, as the one-machine build stores them."""
    source, reader = task.corpus.source, BlockReader(task.corpus)
    for block in blocks:
        if isinstance(source, NpySource):
            yield check_batch(read_vectors(source, block)[0], None, None)
            continue
        some = reader.documents(block)
        notes = [dict(document.metadata) for document in some]
        yield check_batch([d.id for d in some], [d.text for d in some], notes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data narrates on stderr; the build has a progress bar of its own."""
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
