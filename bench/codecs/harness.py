"""Codecs side by side at counted bytes on SciFact, by the harness; one slice of a foreign fit.

Documents and queries of SciFact with their judgements (300 queries), MiniLM; the slice "wrong
domain" is fitted on Cranfield.
"""

import json
from typing import Any

import numpy as np

import attar
from attar.retrieval.evaluation.embedding_set import EmbeddingSet, Slice
from attar.retrieval.evaluation.harness import compare
from attar.retrieval.sources import read_qrels
from bench.machine import DATA
from bench.registry import Result, bench

CODECS = (
    "float16",
    "int8",
    "float8_e4m3",
    "waterfill@8x",
    "pca50%+float8_e4m3",
    "eden4",
    "rabitq4",
    "turboquant4",
    "waterfill@16x",
    "eden2",
    "waterfill@32x",
    "binary:scaled",
)


@bench("codecs/harness", gate="tests/retrieval/evaluation")
def harness(quick: bool) -> Result:
    """One row a codec: bytes, quality with intervals, worst decile, cost."""
    data = _scifact()
    codecs = [attar.codec(spec) for spec in (CODECS[:4] if quick else CODECS)]
    result = compare(data, codecs, seed=0)
    head = {key: result[key] for key in ("documents", "queries", "dim", "fitted_on", "seed")}
    head |= {"data": "scifact, minilm", "float32 nDCG@10": result["float32"]["nDCG@10"]}
    return Result([_row(row) for row in result["codecs"]], head)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    overlap, judged, cost = row["overlap"], row["nDCG@10"], row["cost"]
    return {
        "codec": row["codec"],
        "B/vector": row["bytes"]["per_vector"],
        "side B": row["bytes"]["side"],
        "MB at 1M": row["bytes"]["totals"]["1000000"] / 1e6,
        "overlap@10": overlap["mean"],
        "low": overlap["low"],
        "high": overlap["high"],
        "worst decile": overlap["worst_decile"],
        "nDCG@10 - float32": judged["difference"]["mean"],
        "its low": judged["difference"]["low"],
        "its high": judged["difference"]["high"],
        "better/worse": f"{judged['flips']['better']}/{judged['flips']['worse']}",
        "wrong domain": row["slices"]["wrong domain"]["overlap"]["mean"],
        "encode CPU s/1000": cost["encode_cpu_seconds_per_1000"],
        "query CPU s/1000": cost["query_cpu_seconds_per_1000"],
        "alarms": len(row["alarms"]),
    }


def _scifact() -> EmbeddingSet:
    folder = DATA / "emb" / "scifact"
    judgements = read_qrels(DATA / "ir" / "scifact")
    asked = json.loads((folder / "query_ids.json").read_text())
    rows = [row for row, name in enumerate(asked) if name in judgements]
    other = np.load(DATA / "emb" / "cranfield" / "minilm" / "corpus.npy")
    return EmbeddingSet(
        "scifact",
        np.load(folder / "minilm" / "corpus.npy"),
        np.load(folder / "minilm" / "queries.npy")[rows],
        tuple(json.loads((folder / "corpus_ids.json").read_text())),
        tuple(asked[row] for row in rows),
        judgements,
        {"wrong domain": Slice(tuple(range(len(rows))), fit=other)},
    )
