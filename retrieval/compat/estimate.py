"""A verdict for a store that is there: what to embed for it, and what a re-embed would cost."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.codec import Codec
from attar.retrieval.compat.adapter import LEAST_PAIRS, unit_rows
from attar.retrieval.compat.anchor_drift import anchor_drift
from attar.retrieval.compat.choosing import ADAPTERS
from attar.retrieval.compat.made_questions import made_questions
from attar.retrieval.compat.options import Sample, measure_options
from attar.retrieval.compat.rescoring import CANDIDATES
from attar.retrieval.compat.verdict import Verdict, judge
from attar.stores.metric import documents as as_documents
from attar.stores.probes import LEAST_COSINE, row_cosines
from attar.stores.protocols import Encoder
from attar.stores.store import Store
from attar.stores.types import Float32

DOCUMENTS = 4000
QUESTIONS = 2000
LEAST_QUESTIONS = 30
Grades = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Asked:
    """Questions with their judgements: texts by query id, query id -> document id -> grade."""

    texts: Mapping[str, str]
    qrels: Grades


@dataclass(frozen=True)
class Estimate:
    """verdict; what a re-embed costs here: hours at the measured rate, bytes of the new codes.

    documents: how many the verdict has seen, of `of`. judged: whether people wrote the questions.
    cold_ms: what rescoring adds to a query none of whose candidates is embedded yet, in full.
    """

    verdict: Verdict
    documents: int
    of: int
    judged: bool
    ms_per_document: float | None
    hours: float | None
    nbytes: int | None
    cold_ms: float | None


def estimate(
    store: Store,
    old: Encoder,
    new: Encoder,
    asked: Asked | None = None,
    *,
    spec: str | None = None,
    documents: int = DOCUMENTS,
    pairs: Sequence[str] | None = None,
    adapters: Sequence[str] = tuple(ADAPTERS),
    seed: int = 0,
) -> Estimate:
    """Embed a sample of the store with both models and judge; nothing is changed.

    1. Questions: the judged ones whose documents are in the store, or, without any, a sentence of
       each of up to 2,000 documents (`made_questions`).
    2. Documents: those that answer them, and others at random up to `documents`. Old vectors are
       what the codes give back, so that compression is part of what is measured.
    3. `measure_options`, `judge`.

    pairs: texts to fit adapters on, for a store without texts: then only staying and bridging can
    be measured. spec: codec of the new store, None takes the present one.
    """
    if old.fingerprint and old.fingerprint == new.fingerprint:
        raise ValueError(
            f"{old.name} and {new.name} have the same fingerprint: the same vectors. There is "
            "nothing to upgrade."
        )
    records = {record.id: record.text for record in store.iter()}
    texted = all(text is not None for text in records.values())
    if not texted and (asked is None or pairs is None):
        raise ValueError(
            "A verdict embeds stored texts, and this store lacks some. What remains possible is "
            "staying, or a query-side adapter fitted on other texts of the same kind: pass those "
            "as pairs (--pairs FILE) together with judged queries (--queries, --qrels)."
        )
    names, questions, grades = _questions(records, asked, seed)
    rows = _rows(len(names), [g for g in grades], documents, seed)
    place = {int(row): at for at, row in enumerate(rows)}
    held = store.vectors([names[row] for row in rows])
    before = as_documents(held, store.metric, 1.0) if store.metric == "cosine" else held
    moved = [{place[row]: g for row, g in each.items()} for each in grades]
    x, took = None, None
    if texted:
        started = time.perf_counter()
        x = new.encode_documents([str(records[names[row]]) for row in rows])
        took = 1000 * (time.perf_counter() - started) / len(rows)
    other = None
    if pairs is not None and x is None:
        some = list(pairs)
        other = (unit_rows(old.encode_documents(some)), unit_rows(new.encode_documents(some)))
    a, b = old.encode_queries(questions), new.encode_queries(questions)
    _check_other(old, new, a, b)
    recipe = Codec.parse(spec or str(store.info()["spec"]))
    sample = Sample(
        before, None if x is None else unit_rows(x), unit_rows(a), unit_rows(b), moved, other
    )
    drift = None
    both = (before, x) if x is not None else other
    if both is not None and len(both[0]) >= 2 * LEAST_PAIRS:
        drift = anchor_drift(*both, seed=seed)
    verdict = judge(measure_options(sample, recipe, adapters=adapters, seed=seed), drift, seed=seed)
    return _priced(verdict, store, recipe, sample, took, asked is not None)


def _check_other(old: Encoder, new: Encoder, a: Float32, b: Float32) -> None:
    """Refuse a model that is the old one under another name."""
    if a.shape == b.shape and (row_cosines(a, b) >= LEAST_COSINE).all():
        raise ValueError(
            f"{old.name} and {new.name} give the same vectors, though their fingerprints differ. "
            "There is nothing to upgrade."
        )


def _questions(
    records: Mapping[str, str | None], asked: Asked | None, seed: int
) -> tuple[list[str], list[str], list[dict[int, int]]]:
    """Ids of the documents, questions, and their grades by row of the ids."""
    names = list(records)
    draw = np.random.default_rng(seed)
    if asked is None:
        some = np.sort(draw.permutation(len(names))[:QUESTIONS])
        rows, questions = made_questions([str(records[names[r]] or "") for r in some], seed)
        found = [{int(some[row]): 1} for row in rows]
    else:
        place = {name: row for row, name in enumerate(names)}
        judged = {
            query: {place[d]: g for d, g in grades.items() if d in place and g > 0}
            for query, grades in asked.qrels.items()
            if query in asked.texts
        }
        kept = [query for query, grades in judged.items() if grades]
        kept = [kept[i] for i in np.sort(draw.permutation(len(kept))[:QUESTIONS])]
        questions, found = [asked.texts[q] for q in kept], [judged[q] for q in kept]
    if len(questions) < LEAST_QUESTIONS:
        raise ValueError(
            f"A verdict needs at least {LEAST_QUESTIONS} questions with an answer in the store, "
            f"got {len(questions)}. Give more judged queries, or none, to have some made."
        )
    return names, questions, found


def _rows(
    n: int, grades: Sequence[Mapping[int, int]], documents: int, seed: int
) -> NDArray[np.int64]:
    needed = {row for each in grades for row in each}
    order = np.random.default_rng(seed).permutation(n).tolist()
    others = [row for row in order if row not in needed]
    return np.sort(np.array([*needed, *others[: max(documents - len(needed), 0)]], np.int64))


def _priced(
    verdict: Verdict,
    store: Store,
    recipe: Codec,
    sample: Sample,
    took: float | None,
    judged: bool,
) -> Estimate:
    n, seen = len(store), len(sample.old_documents)
    if took is None or sample.new_documents is None:
        return Estimate(verdict, seen, n, judged, None, None, None, None)
    dim = sample.new_documents.shape[1]
    size = 4 * dim
    if seen >= recipe.min_rows(dim):
        size = recipe.fit(sample.new_documents).bytes_per_vector
    hours = n * took / 3.6e6
    return Estimate(verdict, seen, n, judged, took, hours, n * size, CANDIDATES * took)
