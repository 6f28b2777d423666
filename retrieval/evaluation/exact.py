"""The exact top-k of float32 vectors: the reference that compressed stores are held against."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attar.stores.types import Float32, Hits

Metric = Literal["cosine", "ip", "l2"]
Float64 = NDArray[np.float64]
# Scores of one block of documents take at most 64 MB.
_SCORES = 2**24


def exact_topk(
    queries: ArrayLike,
    documents: ArrayLike,
    k: int,
    metric: Metric = "cosine",
    ids: Sequence[str] | None = None,
    block: int = 16_384,
) -> Hits:
    """Search queries [m d] in documents [n d] (memory-mapped if large) without any compression.

    1. Float32 matrix products over blocks of documents propose candidates: all whose score is not
       below the k-th best by more than twice the rounding error of such a product.
    2. The candidates are scored again in float64, each by itself, so that equal vectors get equal
       scores wherever they stand, and sorted by score, then by the UTF-8 bytes of the id.

    metric: "cosine", "ip" (inner product), "l2" (negative squared distance). ids: one a document;
    None takes the row numbers as strings. block: documents at a time. Both sides are read as
    float32. Returns ids and float32 scores [m k'], k' = min(k, n). ValueError for NaN or infinity,
    and for zero vectors under cosine.
    """
    x = np.asanyarray(documents)
    q = np.asarray(queries, np.float32)
    _check(q, x, k, metric, ids, block)
    _check_rows(q, 0, "query", metric)
    kept, rows = min(k, len(x)), min(block, max(1, _SCORES // max(1, len(q))))
    found = [np.empty(0, np.int64) for _ in q]
    scores = [np.empty(0, np.float32) for _ in q]
    best = np.full(len(q), -np.inf, np.float32)
    longest = 0.0
    for start in range(0, len(x), rows):
        part = np.asarray(x[start : start + rows], np.float32)
        _check_rows(part, start, "document", metric)
        proposed, norm = _propose(q, part, metric)
        longest = max(longest, norm)
        slack = 2 * _rounding(q, longest, metric)
        above = proposed >= (best - slack)[:, None]
        for row in range(len(q)):
            fresh = np.flatnonzero(above[row])
            where = np.concatenate([found[row], start + fresh])
            value = np.concatenate([scores[row], proposed[row, fresh]])
            if len(value) >= kept:
                best[row] = np.partition(value, -kept)[-kept]
                keep = value >= best[row] - slack[row]
                where, value = where[keep], value[keep]
            found[row], scores[row] = where, value
    return _ranked(q, x, found, kept, metric, ids)


def _propose(q: Float32, part: Float32, metric: Metric) -> tuple[Float32, float]:
    """Scores [m b] in float32, and the largest norm of the rows of `part` as they are scored."""
    norms = np.sqrt(np.einsum("nd,nd->n", part, part))
    if metric == "cosine":
        lengths = np.sqrt(np.einsum("md,md->m", q, q))
        return (q / lengths[:, None]) @ (part / norms[:, None]).T, 1.0
    dots = q @ part.T
    if metric == "l2":
        dots = 2 * dots - norms**2 - np.einsum("md,md->m", q, q)[:, None]
    return dots, float(norms.max())


def _rounding(q: Float32, norm: float, metric: Metric) -> Float32:
    """Bound [m] of what `_propose` may be wrong by: (d + 16) eps times the size of the terms.

    A sum of d float32 products is off by at most d eps |q| |x|, in any order of summation; the 16
    covers norms, divisions and the two more terms of l2.
    """
    lengths = np.sqrt(np.einsum("md,md->m", q, q))
    size = {"cosine": np.ones_like(lengths), "ip": lengths * norm, "l2": (lengths + norm) ** 2}
    steps = (q.shape[1] + 16) * np.finfo(np.float32).eps
    return np.asarray(steps * size[metric], np.float32)


def _ranked(
    q: Float32,
    x: NDArray[np.generic],
    found: list[NDArray[np.int64]],
    kept: int,
    metric: Metric,
    ids: Sequence[str] | None,
) -> Hits:
    names = np.empty((len(q), kept), object)
    values = np.empty((len(q), kept), np.float32)
    for row, candidates in enumerate(found):
        exact = _scores(q[row], np.asarray(x[candidates], np.float32), metric)
        pairs = [
            (score, str(at) if ids is None else ids[at])
            for score, at in zip(exact.tolist(), candidates.tolist(), strict=True)
        ]
        pairs.sort(key=lambda pair: (-pair[0], pair[1].encode()))
        values[row] = [score for score, _ in pairs[:kept]]
        names[row] = [name for _, name in pairs[:kept]]
    return Hits(names, values)


def _scores(q: Float32, x: Float32, metric: Metric) -> Float64:
    """Scores [n] of one query in float64; each depends on its own row only."""
    a, b = q.astype(np.float64), x.astype(np.float64)
    if metric == "l2":
        return -np.asarray(((b - a) ** 2).sum(axis=1))
    dots = np.asarray((b * a).sum(axis=1))
    if metric == "cosine":
        return np.asarray(dots / np.sqrt((b * b).sum(axis=1) * (a * a).sum()))
    return dots


def _check(
    q: Float32,
    x: NDArray[np.generic],
    k: int,
    metric: Metric,
    ids: Sequence[str] | None,
    block: int,
) -> None:
    if q.ndim != 2 or x.ndim != 2 or q.shape[1] != x.shape[1] or not q.shape[1]:
        raise ValueError(
            "Queries are [m d] and documents [n d] with the same d, got "
            f"{list(q.shape)} and {list(x.shape)}; embed both with one model."
        )
    if metric not in get_args(Metric):
        raise ValueError(f"The metric is cosine, ip or l2, got {metric!r}.")
    if k < 1 or block < 1:
        raise ValueError(f"k and block are at least 1, got {k} and {block}.")
    if ids is not None and len(ids) != len(x):
        raise ValueError(f"Every document has one id, got {len(ids)} for {len(x)} documents.")


def _check_rows(x: Float32, start: int, what: str, metric: Metric) -> None:
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        row = start + int(np.argmin(finite))
        raise ValueError(f"Vectors are finite, got NaN or infinity in {what} row {row}; remove it.")
    if metric == "cosine" and not x.any(axis=1).all():
        row = start + int(np.argmin(x.any(axis=1)))
        raise ValueError(
            f"A zero vector has no direction, got one in {what} row {row}; remove it, or use the "
            "metric ip or l2."
        )
