"""Codes and peers as searches over one split, and the row that each of them makes."""

from collections.abc import Callable
from typing import Any

import numpy as np

import attar
from attar.retrieval.evaluation import bootstrap_interval, paired_bootstrap
from bench.codecs.splits import Collection, Split, ndcg, overlap, scores, split, top, truth
from bench.registry import Row

Search = Callable[[Collection, Split, int], tuple[np.ndarray, float]]
"""(collection, split, seed) -> rows of the ten best [m 10], bytes per vector."""


def coded(spec: str, queries: bool = False) -> Search:
    def run(data: Collection, part: Split, seed: int) -> tuple[np.ndarray, float]:
        asked = part.asked if queries else None
        codec = attar.codec(spec).fit(part.fitted, queries=asked, seed=seed)
        found = top(scores(codec, data.x, data.q[part.measured]))
        return found, codec.bytes_per_vector

    return run


def fitted_on(spec: str, other: Collection) -> Search:
    def run(data: Collection, part: Split, seed: int) -> tuple[np.ndarray, float]:
        codec = attar.codec(spec).fit(split(other, seed).fitted, seed=seed)
        return top(scores(codec, data.x, data.q[part.measured])), codec.bytes_per_vector

    return run


def planes_dropped(spec: str, dropped: int) -> Search:
    def run(data: Collection, part: Split, seed: int) -> tuple[np.ndarray, float]:
        codec = attar.codec(spec).fit(part.fitted, queries=part.asked, seed=seed)
        layout = codec.layout.without(dropped)
        levels, query = layout.unpack(codec.encode(data.x)), codec.prepare(data.q[part.measured])
        found = top(query.const[:, None] + (query.coords @ levels.y.T) * levels.factor)
        return found, layout.bytes_per_vector

    return run


def residual_quantizer(size: int) -> Search:
    def run(data: Collection, part: Split, seed: int) -> tuple[np.ndarray, float]:
        import faiss

        index = faiss.IndexResidualQuantizer(data.x.shape[1], size, 8, faiss.METRIC_INNER_PRODUCT)
        index.rq.train_type = faiss.ResidualQuantizer.Train_default
        index.rq.max_beam_size = 4
        index.train(part.fitted)
        codes = index.rq.compute_codes(data.x)
        return top(data.q[part.measured] @ index.rq.decode(codes).T), size

    return run


def turbovec(bits: int) -> Search:
    def run(data: Collection, part: Split, seed: int) -> tuple[np.ndarray, float]:
        import turbovec

        index = turbovec.TurboQuantIndex(dim=data.x.shape[1], bit_width=bits)
        index.add(data.x)
        half = turbovec.TurboQuantIndex(dim=data.x.shape[1], bit_width=bits)
        half.add(data.x[: len(data.x) // 2])
        size = (len(index.to_bytes()) - len(half.to_bytes())) / (len(data.x) - len(data.x) // 2)
        _, found = index.search(np.ascontiguousarray(data.q[part.measured]), 10)
        return np.asarray(found), round(size, 1)

    return run


def measure(data: Collection, rate: str, name: str, search: Search, splits: int) -> Row:
    overlaps, exact_ndcg, got_ndcg, size = [], [], [], 0.0
    for seed in range(splits):
        part, (exact, exact_scores) = split(data, seed), truth(data, seed)
        found, size = search(data, part, seed)
        overlaps.append(overlap(found, exact))
        exact_ndcg.append(exact_scores)
        got_ndcg.append(ndcg(data, part.measured, found))
    interval = bootstrap_interval(np.concatenate(overlaps), seed=0)
    loss = paired_bootstrap(np.concatenate(exact_ndcg), np.concatenate(got_ndcg), seed=0)
    return {
        "set": f"{data.name} {data.model}",
        "rate": rate,
        "code": name,
        "bytes/vector": size,
        "overlap@10": round(interval.mean, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "nDCG@10 lost": round(loss.mean / float(np.concatenate(exact_ndcg).mean()), 4),
        "loss interval": [round(loss.low, 4), round(loss.high, 4)],
        "splits": splits,
    }


def bar(text: str, measured: float, least: float) -> dict[str, Any]:
    return {"bar": text, "measured": measured, "met": measured >= least}
