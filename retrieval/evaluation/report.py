"""Evaluating a store: judged quality, agreement with exact float32, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.evaluation.bootstrap import bootstrap_interval
from attar.retrieval.evaluation.exact import Metric, exact_topk
from attar.retrieval.evaluation.metrics import evaluate_run
from attar.retrieval.evaluation.overlap import overlap_at_k
from attar.stores.protocols import Encoder
from attar.stores.store import Store
from attar.stores.types import Float32

DEPTH = 100
SIZES = (100_000, 1_000_000)


@dataclass(frozen=True)
class Reference:
    """Exact vectors to compare with: float32 [n d], their ids, and where they come from."""

    ids: list[str]
    vectors: NDArray[np.floating]
    origin: str


def evaluate_store(
    store: Store,
    encoder: Encoder,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    reference: Reference | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Search all judged queries and measure. Means come with bootstrap 95 % intervals.

    Returns nDCG@10, recall@100, MRR@10 (trec_eval's definitions), overlap@10 with exact float32
    where there is a reference, bytes per vector, side bytes, and totals for this corpus, 100k, 1M.
    """
    judged = [name for name in queries if name in qrels]
    if not judged:
        raise ValueError(
            f"No query is judged: {len(queries):,} queries and {len(qrels):,} judged ids have none "
            "in common; give the queries and the judgements of one collection."
        )
    vectors = encoder.encode_queries([queries[name] for name in judged])
    hits = store.search(vectors, k=DEPTH)
    run = dict(zip(judged, (list(row) for row in hits.ids), strict=True))
    per_query = evaluate_run(run, qrels)
    result: dict[str, Any] = {"queries": len(judged), "documents": len(store)}
    for metric, values in per_query.values.items():
        result[metric] = _with_interval(values, seed)
    if reference is not None:
        result["overlap@10"] = _with_interval(_overlap(store, vectors, hits.ids, reference), seed)
        result["reference"] = reference.origin
    return result | _bytes(store)


def _with_interval(values: NDArray[np.float64], seed: int) -> dict[str, float]:
    interval = bootstrap_interval(values, seed=seed)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _overlap(
    store: Store, queries: Float32, ids: NDArray[np.object_], reference: Reference
) -> NDArray[np.float64]:
    missing = [name for name in reference.ids if name not in store]
    if missing or len(reference.ids) != len(store):
        raise ValueError(
            f"A reference has one vector for every document of the store, got "
            f"{len(reference.ids):,} for {len(store):,}"
            + (f" ({missing[0]!r} is not in the store)" if missing else "")
            + "; give the vectors that the store was built from, with their ids."
        )
    metric = cast(Metric, store.metric)
    exact = exact_topk(queries, reference.vectors, 10, metric, ids=reference.ids)
    return overlap_at_k(ids, exact.ids)


def _bytes(store: Store) -> dict[str, Any]:
    facts = store.info()
    each, side = facts["bytes_per_vector"], facts["side_bytes"]
    return {
        "codec": facts["serving"],
        "bytes_per_vector": each,
        "side_bytes": side,
        "bytes": {str(n): n * each + side for n in (len(store), *SIZES)},
    }
