"""From a corpus to a store: resumable, every text embedded once, memory bounded.

1. One pass over the source checks it whole and picks the training sample by the hash of the ids.
2. With texts: the sample is embedded first and served as exact float32; the commit that completes
   it fits the codec and encodes it. With precomputed vectors: the codec is fitted on the sample's
   rows before the store is made.
3. The rest streams in batches, one atomic commit each. The commit carries how far the source was
   read, so that an interrupted build continues there: nothing is lost, nothing doubled.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from attar.retrieval.indexing.embed import embed_documents
from attar.retrieval.indexing.manifest import Manifest
from attar.retrieval.indexing.sample import Sample
from attar.retrieval.sources import Document, NpySource, Source
from attar.stores.protocols import Encoder, Recipe
from attar.stores.store import Store
from attar.stores.types import Float32

Advance = Callable[[int], None]
BATCH = 2048
ROWS = 16_384


S = TypeVar("S", bound=Store)


@dataclass(frozen=True)
class Wiring(Generic[S]):
    """How the door makes and opens stores.

    create: `(path, codec, encoder, **settings) -> Store`; open: `(path, mode, encoder=…) -> Store`.
    """

    create: Callable[..., S]
    open: Callable[..., S]


@dataclass(frozen=True)
class Plan:
    """One build, ready to run: what was asked and what the first pass found."""

    source: Source
    out: Path
    recipe: Recipe
    encoder: Encoder | None
    manifest: Manifest
    sample: Sample
    keep_originals: bool

    @property
    def total(self) -> int:
        """Documents of the corpus."""
        return self.sample.count


def plan_build(
    source: Source,
    out: Path,
    recipe: Recipe,
    encoder: Encoder | None,
    metric: str = "cosine",
    seed: int = 0,
    keep_originals: bool = False,
) -> Plan:
    """Read the source once, checking it whole, before anything is written."""
    if isinstance(source, NpySource):
        ids = _checked_ids(source, metric)
    else:
        if encoder is None:
            raise ValueError("A corpus of texts needs an encoder; pass one, or pass vectors.")
        ids = (document.id for document in source)
    sample = Sample(ids, seed)
    manifest = Manifest(
        source_kind=source.kind,
        source_hash=source.hash,
        chunk=source.chunk,
        encoder="" if encoder is None else encoder.name,
        fingerprint="" if encoder is None else encoder.fingerprint,
        codec=recipe.spec,
        metric=metric,
        batch=ROWS if isinstance(source, NpySource) else BATCH,
        seed=seed,
    )
    return Plan(source, out, recipe, encoder, manifest, sample, keep_originals)


def open_or_create(plan: Plan, wiring: Wiring[S], overwrite: bool = False) -> S:
    """Make the store of a plan, or open the one that an interrupted build left.

    Raises FileExistsError for a finished build, and for one that was asked something else (the
    differences are named); neither is touched.
    """
    if plan.out.exists() and not overwrite:
        return _continue(plan, wiring)
    settings = {
        "metric": plan.manifest.metric,
        "keep_originals": plan.keep_originals,
        "overwrite": overwrite,
        "train_at": max(plan.sample.size, 1),
        "seed": plan.manifest.seed,
        "manifest": plan.manifest.to_json(),
    }
    if isinstance(plan.source, NpySource):
        fitted = plan.recipe.fit(_sample_rows(plan, plan.source), seed=plan.manifest.seed)
        return wiring.create(plan.out, fitted, None, **settings)
    return wiring.create(plan.out, plan.recipe, plan.encoder, **settings)


def _continue(plan: Plan, wiring: Wiring[S]) -> S:
    store = wiring.open(plan.out, "w", encoder=plan.encoder)
    try:
        if store.manifest is None:
            raise FileExistsError(
                f"{plan.out} is a store that no build made; choose another folder, or --overwrite."
            )
        differences = Manifest.from_json(store.manifest).differences(plan.manifest)
        if differences:
            raise FileExistsError(
                f"{plan.out} was begun with something else: {'; '.join(differences)}. "
                "Repeat the command that began it, choose another folder, or --overwrite."
            )
        if (store.progress or {}).get("phase") == "done":
            raise FileExistsError(
                f"{plan.out} is finished, with {len(store):,} documents. Search it, choose another "
                "folder, or --overwrite to build it again."
            )
    except BaseException:
        store.close()
        raise
    return store


def run_build(plan: Plan, store: Store, advance: Advance = lambda count: None) -> None:
    """Bring an open store to the end of its plan; `advance(count)` as documents are done."""
    progress = store.progress or {"phase": first_phase(plan), "next": 0}
    if isinstance(plan.source, NpySource):
        _stream_vectors(plan.source, store, progress["next"], advance)
    else:
        if progress["phase"] == "sample":
            _stream_texts(plan, store, "sample", progress["next"], advance)
            progress = {"phase": "rest", "next": 0}
        if progress["phase"] == "rest":
            _stream_texts(plan, store, "rest", progress["next"], advance)
    store.set_progress({"phase": "done", "next": plan.total})


def first_phase(plan: Plan) -> str:
    """A codec that learns nothing needs no sample, and a corpus that fits the sample is one."""
    return "sample" if plan.recipe.learns and plan.sample.size < plan.total else "rest"


def _stream_texts(plan: Plan, store: Store, phase: str, start: int, advance: Advance) -> None:
    """Embed and add the documents of one phase; batches are cut by the order of the source."""
    encoder = plan.encoder
    if encoder is None:
        raise ValueError("A corpus of texts needs an encoder; pass one, or pass vectors.")
    for batch in _chunks(_of_phase(plan, phase, start), plan.manifest.batch):
        documents = [document for _, document in batch]
        texts = [document.text for document in documents]
        store.add(
            [document.id for document in documents],
            vectors=embed_documents(encoder, texts, advance),
            texts=texts,
            metadata=[dict(document.metadata) for document in documents],
            progress={"phase": phase, "next": batch[-1][0] + 1},
        )


def _of_phase(plan: Plan, phase: str, start: int) -> Iterator[tuple[int, Document]]:
    """Documents of a phase from number `start` on, each with its number in the source."""
    everything = first_phase(plan) == "rest"
    for number, document in enumerate(plan.source.documents(start), start):
        if everything or (document.id in plan.sample) == (phase == "sample"):
            yield number, document


def _stream_vectors(source: NpySource, store: Store, start: int, advance: Advance) -> None:
    for ids, block in source.blocks(start, ROWS):
        start += len(ids)
        store.add(ids, vectors=block, progress={"phase": "rest", "next": start})
        advance(len(ids))


def _checked_ids(source: NpySource, metric: str) -> Iterator[str]:
    """Ids of precomputed vectors, whose rows are finite and, for cosine, not zero."""
    for ids, block in source.blocks():
        zero = ~block.any(axis=1)
        if metric == "cosine" and zero.any():
            row = int(np.argmax(zero))
            raise ValueError(
                f"A cosine store takes vectors of positive length, got zeros for id {ids[row]!r}; "
                "remove it, or build with --metric ip."
            )
        yield from ids


def _sample_rows(plan: Plan, source: NpySource) -> Float32:
    """Training rows of precomputed vectors, scaled as the metric will scale documents."""
    kept = [
        block[np.fromiter((name in plan.sample for name in ids), bool, len(ids))]
        for ids, block in source.blocks(0, ROWS)
    ]
    rows: Float32 = np.concatenate(kept)
    if plan.manifest.metric == "cosine":
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-30))
    return rows


def _chunks(
    documents: Iterator[tuple[int, Document]], size: int
) -> Iterator[list[tuple[int, Document]]]:
    while chunk := list(islice(documents, size)):
        yield chunk
