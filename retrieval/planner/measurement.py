"""One candidate on a sample: fitted, encoded, ranked; predicted for the corpus."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attar.retrieval.codec import Codec
from attar.retrieval.evaluation.bootstrap import paired_bootstrap
from attar.retrieval.evaluation.exact import Metric
from attar.retrieval.evaluation.metrics import evaluate_run
from attar.retrieval.evaluation.ranking import (
    coded_documents,
    coded_queries,
    encode,
    vector_bytes,
)
from attar.retrieval.planner.prediction import RANKED, Prediction, Rankings, predict
from attar.retrieval.planner.profile import Rows, top_rows
from attar.stores import metric as metrics
from attar.stores.protocols import Codec as FittedCodec
from attar.stores.protocols import Recipe
from attar.stores.types import Float32

BLOCK = 256
REFERENCE = "float32"

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Trial:
    """What all candidates are tried on.

    documents float32 [s d], queries [m d], total n. exact: their top rows [m RANKED] in float32.
    judged: ids of documents and queries and the judgements, when nDCG decides.
    """

    documents: Float32
    queries: Float32
    total: int
    metric: Metric
    seed: int
    exact: Rows
    judged: "Judged | None" = None


@dataclass(frozen=True)
class Judged:
    """Ids of the sample and of the queries, in order, and the judgements."""

    document_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    qrels: Qrels


@dataclass(frozen=True)
class Point:
    """A candidate: bytes per vector, side bytes, bytes of the whole corpus, predicted quality."""

    spec: str
    bytes_per_vector: int
    side_bytes: int
    total_bytes: int
    quality: Prediction


def exact_rows(documents: Float32, queries: Float32, metric: Metric) -> Rows:
    """Top rows [m RANKED] in float32."""
    codec = Codec.parse(REFERENCE).fit(metrics.documents(documents[:1], metric, 1.0))
    return top_rows_of(coded_queries(codec, queries, metric), _coded(codec, documents, metric))


def measure(recipe: Recipe, trial: Trial) -> Point:
    """Try one candidate. ValueError when the sample is too small or d too low for it."""
    whole = recipe.fit(metrics.documents(trial.documents, trial.metric, 1.0), seed=trial.seed)
    queries = trial.queries
    x = _coded(whole, trial.documents, trial.metric)
    inside = top_rows_of(coded_queries(whole, queries, trial.metric), x)
    if recipe.spec == REFERENCE:
        quality = Prediction(1.0, 1.0, 1.0, 1.0)
    elif trial.judged is not None:
        quality = _judged(inside, trial, trial.judged)
    else:
        sampled = len(trial.documents) < trial.total
        outside = _outside(recipe, trial) if recipe.learns and sampled else None
        rankings = Rankings(trial.exact, inside, outside)
        quality = predict(rankings, len(trial.documents), trial.total, trial.seed)
    each = vector_bytes(whole, trial.metric)
    return Point(
        recipe.spec, each, whole.side_bytes, trial.total * each + whole.side_bytes, quality
    )


def _outside(recipe: Recipe, trial: Trial) -> Rows | None:
    """Rankings where every document was coded by a codec of the other half."""
    x = trial.documents
    half = len(x) // 2
    if half < recipe.min_rows(x.shape[1]):
        return None
    scores = []
    for mine, others in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        fitted = metrics.documents(x[others], trial.metric, 1.0)
        codec = recipe.fit(fitted, seed=trial.seed)
        query = metrics.prepared(trial.queries, trial.metric, codec)
        part = _coded(codec, x[mine], trial.metric)
        asked = coded_queries(codec, trial.queries, trial.metric)
        scores.append(asked @ part.T + query.const[:, None])
    return top_rows(np.concatenate(scores, axis=1), RANKED)


def _coded(codec: FittedCodec, documents: Float32, metric: Metric) -> Float32:
    return coded_documents(codec, encode(codec, documents, metric), documents, metric)


def top_rows_of(queries: Float32, x: Float32) -> Rows:
    """Top rows [m RANKED] by inner products of queries [m e] and documents [n e]."""
    blocks = [
        top_rows(queries[start : start + BLOCK] @ x.T, RANKED)
        for start in range(0, len(queries), BLOCK)
    ]
    return np.concatenate(blocks)


def _judged(inside: Rows, trial: Trial, judged: Judged) -> Prediction:
    """Share of float32's nDCG@10 that is kept, on the sample, with its paired interval."""
    kept, exact = (
        evaluate_run(_run(rows, judged), judged.qrels).values["nDCG@10"]
        for rows in (inside, trial.exact)
    )
    gap, base = paired_bootstrap(kept, exact, seed=trial.seed), float(exact.mean())
    if base == 0:
        raise ValueError(
            "Float32 finds no relevant document in its first ten, so that no share of it can be "
            "kept; check that the judgements belong to this corpus."
        )
    mean, low, high = (1 + value / base for value in (gap.mean, gap.low, gap.high))
    return Prediction(mean, low, high, mean)


def _run(rows: Rows, judged: Judged) -> dict[str, list[str]]:
    return {
        name: [judged.document_ids[at] for at in row[:10]]
        for name, row in zip(judged.query_ids, rows, strict=True)
    }
