"""Collections, splits and answers that the benchmarks of waterfill share."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from attar.retrieval.evaluation import evaluate_run
from attar.retrieval.quantizers import waterfill
from bench.machine import DATA

FITTED_ON = 2048
K = 10


@dataclass(frozen=True, eq=False)
class Collection:
    """Embeddings of a collection: documents [n d], queries [m d], ids and judgements."""

    name: str
    model: str
    x: np.ndarray
    q: np.ndarray
    documents: list[str]
    queries: list[str]
    qrels: dict[str, dict[str, int]]


def load(name: str, model: str) -> Collection:
    folder = DATA / "emb" / name
    x, q = (np.load(folder / model / f"{side}.npy") for side in ("corpus", "queries"))
    ids = (json.loads((folder / f"{side}_ids.json").read_text()) for side in ("corpus", "query"))
    qrels: dict[str, dict[str, int]] = {}
    for file in sorted((DATA / "ir" / name / "qrels").glob("*.tsv")):
        for row in list(csv.reader(file.open(), delimiter="\t"))[1:]:
            qrels.setdefault(row[0], {})[row[1]] = int(row[2])
    return Collection(name, model, x, q, *ids, qrels)


@dataclass(frozen=True, eq=False)
class Split:
    """fitted: documents for the fit; asked: rows of sample queries; measured: rows of the rest."""

    fitted: np.ndarray
    asked: np.ndarray
    measured: np.ndarray


@lru_cache(maxsize=64)
def split(data: Collection, seed: int) -> Split:
    """2,048 documents (half of a smaller collection) and half of the queries, at random."""
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(data.x))[: min(FITTED_ON, len(data.x) // 2)]
    queries = draw.permutation(len(data.q))
    half = len(queries) // 2
    return Split(data.x[rows], data.q[queries[:half]], queries[half:])


@lru_cache(maxsize=64)
def truth(data: Collection, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact ten of a split's measured queries, and their nDCG@10."""
    part = split(data, seed)
    exact = top(data.q[part.measured] @ data.x.T)
    return exact, ndcg(data, part.measured, exact)


def share_bases() -> None:
    """Let codes of several sizes that are fitted on the same arrays share their basis.

    It does not depend on the size and takes most of the time of a fit.
    """
    for name in ("weighted_transform", "unasked_transform"):
        find = getattr(waterfill, name)
        if not hasattr(find, "__wrapped__"):
            setattr(waterfill, name, _once_per_content(find))


def _once_per_content(find: Callable[..., Any]) -> Callable[..., Any]:
    found = lru_cache(maxsize=64)(lambda *content: find(*map(_array, content)))

    def call(*arrays: np.ndarray) -> Any:
        return found(*((a.tobytes(), a.shape[1], a.dtype.str) for a in arrays))

    call.__wrapped__ = find  # type: ignore[attr-defined]
    return call


def _array(content: tuple[bytes, int, str]) -> np.ndarray:
    data, dim, kind = content
    return np.frombuffer(data, kind).reshape(-1, dim)


def top(scores: np.ndarray) -> np.ndarray:
    """Rows of the ten best documents of each query, best first."""
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def scores(codec: Any, x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Scores of encoded documents, [m n]."""
    levels, query = codec.layout.unpack(codec.encode(x)), codec.prepare(q)
    return query.const[:, None] + (query.coords @ levels.y.T) * levels.factor


def overlap(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Share of the exact ten among the ten found, per query."""
    return (got[:, :, None] == exact[:, None, :]).any(axis=2).mean(axis=1)


def ndcg(data: Collection, rows: np.ndarray, found: np.ndarray) -> np.ndarray:
    """nDCG@10 of the judged ones among the queries `rows`, in a fixed order."""
    run = {
        data.queries[row]: [data.documents[d] for d in hits]
        for row, hits in zip(rows, found, strict=True)
        if data.queries[row] in data.qrels
    }
    judged = evaluate_run(run, {query: data.qrels[query] for query in run})
    return judged.values["nDCG@10"]
