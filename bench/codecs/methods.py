"""Every method and every peer at what it costs: overlap with exact float32 per byte."""

import json
import time
from typing import Any

import numpy as np

import attar
from attar.retrieval.evaluation import exact_topk, overlap_at_k
from bench.machine import DATA
from bench.registry import Result, bench

SETS = (("scifact", "minilm"), ("squad", "minilm"))
FITTED_ON = 2048
ONE_SPLIT = ("pq", "opq", "autoencoder")
"""Trained for long; one split says enough."""

CODECS = (
    *("float16", "bfloat16", "float8_e4m3", "float8_e4m3:scaled", "float8_e5m2", "float8_e3m4"),
    *("int8", "int8:minmax", "sq8", "float6_e2m3", "float6_e3m2", "sq6"),
    *("float4_e2m1", "float4_e2m1:g32", "int4", "centre+int4", "sq4"),
    *("turboquant4", "eden4", "rabitq4", "pca50%+int8", "pca50%+float8_e4m3", "waterfill@8x"),
    *("int2", "centre+int2", "turboquant2", "eden2", "rabitq2", "pca25%+int8", "waterfill@16x"),
    *("ternary", "centre+ternary", "binary", "binary:scaled", "turboquant1", "eden1", "rabitq1"),
    *("pq{48}x8", "opq{48}x8", "waterfill@32x"),
    *("truncate50%", "gaussianrp50%", "sparserp50%", "pca50%", "kpca50%", "autoencoder50%"),
)


def _spec(codec: str, dim: int) -> str:
    return codec.replace("{48}", str(dim // 8))


def _measure(spec: str, x: Any, q: Any, exact: Any, splits: range) -> dict[str, Any]:
    overlaps, seconds, sizes = [], [], (0, 0)
    for split in splits:
        rows = np.random.default_rng(split).permutation(len(x))[:FITTED_ON]
        start = time.process_time()
        codec = attar.codec(spec).fit(x[rows], seed=split)
        fitted = time.process_time()
        codes, sizes = codec.encode(x), (codec.bytes_per_vector, codec.side_bytes)
        seconds.append((fitted - start, time.process_time() - fitted))
        levels, query = codec.layout.unpack(codes), codec.prepare(q)
        score = query.const[:, None] + (query.coords @ levels.y.T) * levels.factor
        hits = np.argsort(-score, axis=1, kind="stable")[:, :10].astype(str).astype(object)
        overlaps.append(float(overlap_at_k(hits, exact).mean()))
    fit, encode = np.median(seconds, axis=0)
    return {
        "codec": spec,
        "bytes/vector": sizes[0],
        "side bytes": sizes[1],
        "overlap@10": round(float(np.mean(overlaps)), 4),
        "spread": round(max(overlaps) - min(overlaps), 4),
        "fit s": round(float(fit), 2),
        "encode us/vector": round(1e6 * float(encode) / len(x), 1),
    }


@bench("codecs/methods", gate="tests/retrieval/codecs")
def methods(quick: bool) -> Result:
    """Fit on 2,048 documents, encode all, search with all queries of the collection."""
    rows = []
    for collection, model in SETS[:1] if quick else SETS:
        folder = DATA / "emb" / collection
        x, q = (
            np.load(folder / model / f"{side}.npy").astype(np.float32)
            for side in ("corpus", "queries")
        )
        judged = 200 if quick else len(json.loads((folder / "query_ids.json").read_text()))
        q = q[:judged]
        exact = exact_topk(q, x, 10).ids
        for codec in CODECS:
            once = quick or codec.startswith(ONE_SPLIT)
            if quick and codec.startswith(ONE_SPLIT):
                continue
            measured = _measure(_spec(codec, x.shape[1]), x, q, exact, range(1 if once else 3))
            rows.append({"set": f"{collection} {model}"} | measured)
    setup = {
        "fitted on": FITTED_ON,
        "splits": "3 (PQ, OPQ, autoencoder: 1)",
        "seconds": "CPU of this process, median of the splits",
        "score": "float32 matrix product of prepared queries and unpacked levels",
    }
    return Result(rows, setup)
