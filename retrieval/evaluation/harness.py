"""Codecs side by side on one set of embeddings, at bytes that are counted alike.

Per codec: bytes per vector (codes, scales, corrections) and side bytes (basis, levels, codebooks)
apart, totals for this corpus, 100k and 1M; overlap@k with exact float32; nDCG@10 with its paired
difference to float32; what single queries and the worst tenth of them lose; what it takes.
A mean alone calls nothing good: `alarms` name what a mean hides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.evaluation.bootstrap import bootstrap_interval, paired_bootstrap
from attar.retrieval.evaluation.embedding_set import EmbeddingSet, Slice
from attar.retrieval.evaluation.exact import Metric, exact_topk
from attar.retrieval.evaluation.measuring import Cost, measured
from attar.retrieval.evaluation.metrics import evaluate_run
from attar.retrieval.evaluation.overlap import overlap_at_k
from attar.retrieval.evaluation.ranking import (
    coded_documents,
    coded_queries,
    encode,
    vector_bytes,
)
from attar.stores import metric as metrics
from attar.stores.protocols import Codec, Recipe
from attar.stores.types import Codes, Float32

FORMAT = 1
SIZES = (100_000, 1_000_000)
DEPTH = 100
TENTH = 0.1
HALF = 0.5

Names = NDArray[np.object_]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """How to compare: overlap at k, the metric of the store, documents for fits, seed of draws."""

    k: int
    metric: Metric
    fit: Float32
    seed: int


def compare(
    data: EmbeddingSet,
    codecs: Sequence[Recipe],
    *,
    k: int = 10,
    metric: Metric = "cosine",
    fit: Float32 | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Measure every codec on the same documents and queries; the content of `SCHEMA`.

    fit: documents [f d] that codecs are fitted on; None takes the documents of the set, as
    `build-index` does. Codecs are fitted without queries, as there. advance(1) after each codec.
    Raises ValueError when two codecs have one spec or a fit is refused.
    """
    names = [codec.spec for codec in codecs]
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"Codecs to compare differ and there is at least one, got {names}.")
    sample = data.documents if fit is None else fit
    setting = Setting(k, metric, metrics.documents(sample, metric, 1.0), seed)
    truth = _Truth(data, setting)
    rows = []
    for codec in codecs:
        rows.append(_row(codec, data, truth, setting))
        advance(1)
    return {
        "format": FORMAT,
        "set": data.name,
        "documents": len(data.documents),
        "queries": len(data.queries),
        "judged": len(truth.judged),
        "dim": data.dim,
        "metric": metric,
        "k": k,
        "fitted_on": len(setting.fit),
        "seed": seed,
        "interval": "95 %, bootstrap over queries; differences paired with float32",
        "float32": {"bytes_per_vector": 4 * data.dim, "nDCG@10": truth.mean_ndcg},
        "codecs": rows,
    }


class _Truth:
    """Rankings and judged values of exact float32, once for all codecs."""

    def __init__(self, data: EmbeddingSet, setting: Setting) -> None:
        self.data, self.setting = data, setting
        qrels = data.qrels or {}
        self.judged = [name for name in data.query_ids if name in qrels]
        self.ids = self.rank(data.queries)
        self.ndcg = None if not self.judged else self.judge(self.ids)
        self.mean_ndcg = None if self.ndcg is None else float(self.ndcg.mean())

    def rank(self, queries: Float32) -> Names:
        """Exact ids [m k'] of the set's documents."""
        data, depth = self.data, max(DEPTH, self.setting.k)
        names = list(data.document_ids)
        return exact_topk(queries, data.documents, depth, self.setting.metric, names).ids

    def judge(self, ids: Names) -> Values:
        """NDCG@10 of rankings [m k'] of all queries: one value a judged query, by sorted id."""
        qrels = self.data.qrels or {}
        judgements = {name: qrels[name] for name in self.judged}
        run = {
            name: list(row)
            for name, row in zip(self.data.query_ids, ids, strict=True)
            if name in judgements
        }
        return evaluate_run(run, judgements).values["nDCG@10"]


def _row(recipe: Recipe, data: EmbeddingSet, truth: _Truth, setting: Setting) -> dict[str, Any]:
    codec, fit_cost = measured(lambda: recipe.fit(setting.fit, seed=setting.seed))
    codes, encode_cost = measured(lambda: encode(codec, data.documents, setting.metric))
    ids, query_cost = measured(lambda: _search(codec, codes, data, data.queries, setting))
    overlap = overlap_at_k(ids, truth.ids, setting.k)
    row: dict[str, Any] = {
        "codec": recipe.spec,
        "bytes": _bytes(codec, codes, data, setting.metric),
        "overlap": interval_of(overlap, setting.seed) | {"worst_decile": worst_decile(overlap)},
        "top1_changed": float(np.mean(ids[:, 0] != truth.ids[:, 0])),
        "nDCG@10": None,
        "cost": _costs(fit_cost, encode_cost, query_cost, len(data.documents), len(data.queries)),
        "slices": {
            name: _slice(recipe, codec, part, data, truth, setting)
            for name, part in data.slices.items()
        },
    }
    if truth.ndcg is not None:
        row["nDCG@10"] = judged_against(truth.judge(ids), truth.ndcg, setting.seed)
    row["alarms"] = alarms(row)
    return row


def _search(
    codec: Codec, codes: Codes, data: EmbeddingSet, queries: Float32, setting: Setting
) -> Names:
    """The same scan in numpy for every codec: unpack, prepare, rank by inner products."""
    x = coded_documents(codec, codes, data.documents, setting.metric)
    q = coded_queries(codec, queries, setting.metric)
    return exact_topk(q, x, max(DEPTH, setting.k), "ip", list(data.document_ids)).ids


def _slice(
    recipe: Recipe,
    codec: Codec,
    part: Slice,
    data: EmbeddingSet,
    truth: _Truth,
    setting: Setting,
) -> dict[str, Any]:
    """Overlap under the conditions of a slice; exact float32 answers the same changed queries."""
    rows = list(part.rows)
    if part.fit is not None:
        fit = metrics.documents(part.fit, setting.metric, 1.0)
        codec = recipe.fit(fit, seed=setting.seed)
    queries = data.queries[rows] if part.queries is None else part.queries
    exact = truth.ids[rows] if part.queries is None else truth.rank(queries)
    codes = encode(codec, data.documents, setting.metric)
    found = _search(codec, codes, data, queries, setting)
    overlap = overlap_at_k(found, exact, setting.k)
    return {
        "queries": len(rows),
        "overlap": interval_of(overlap, setting.seed) | {"worst_decile": worst_decile(overlap)},
    }


def worst_decile(values: Values) -> float:
    """Mean of the lowest tenth (at least one) of the values."""
    count = max(1, int(np.ceil(TENTH * len(values))))
    return float(np.sort(values)[:count].mean())


def judged_against(values: Values, exact: Values, seed: int) -> dict[str, Any]:
    """NDCG of a codec beside that of float32 on the same queries.

    worst_decile: the tenth of the queries that lose most: what float32 had there (exact), what is
    left (mean). flips: queries that became better, worse, or stayed.
    """
    difference = paired_bootstrap(values, exact, seed=seed)
    count = max(1, int(np.ceil(TENTH * len(values))))
    losers = np.argsort(values - exact, kind="stable")[:count]
    return interval_of(values, seed) | {
        "difference": {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
        },
        "worst_decile": {
            "exact": float(exact[losers].mean()),
            "mean": float(values[losers].mean()),
        },
        "flips": {
            "better": int((values > exact).sum()),
            "worse": int((values < exact).sum()),
            "same": int((values == exact).sum()),
        },
    }


def alarms(row: Mapping[str, Any]) -> list[str]:
    """What the means of a row do not show: a tenth of the queries that lost half or more."""
    found = []
    overlap, judged = row["overlap"]["worst_decile"], row["nDCG@10"]
    if overlap <= HALF:
        found.append(f"worst decile: a tenth of the queries keep {overlap:.2f} of the exact top k")
    if judged is not None:
        worst = judged["worst_decile"]
        if worst["mean"] < worst["exact"] and worst["mean"] <= HALF * worst["exact"]:
            found.append(
                f"worst decile: a tenth of the queries fall from nDCG@10 {worst['exact']:.2f} to "
                f"{worst['mean']:.2f}"
            )
        if judged["difference"]["high"] < 0:
            found.append("mean: nDCG@10 is below float32 by more than chance")
    return found


def interval_of(values: Values, seed: int) -> dict[str, Any]:
    """Mean and 95 % interval as plain numbers."""
    interval = bootstrap_interval(values, seed=seed)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _bytes(codec: Codec, codes: Codes, data: EmbeddingSet, metric: str) -> dict[str, Any]:
    each, side = vector_bytes(codec, metric), codec.side_bytes
    counted = codes.nbytes / len(data.documents)
    if counted != codec.bytes_per_vector:
        raise ValueError(
            f"A codec says how many bytes a vector takes: {codec.spec} says "
            f"{codec.bytes_per_vector}, its codes take {counted:g}."
        )
    sizes = dict.fromkeys((len(data.documents), *SIZES))
    return {
        "per_vector": each,
        "side": side,
        "ratio": 4 * data.dim / each,
        "totals": {str(n): n * each + side for n in sizes},
    }


def _costs(fit: Cost, coding: Cost, query: Cost, n: int, m: int) -> dict[str, Any]:
    peaks = [cost.peak_bytes for cost in (fit, coding, query) if cost.peak_bytes is not None]
    return {
        "fit_cpu_seconds": fit.cpu,
        "encode_cpu_seconds_per_1000": 1000 * coding.cpu / n,
        "query_cpu_seconds_per_1000": 1000 * query.cpu / m,
        "peak_memory_bytes": max(peaks) if peaks else None,
    }
