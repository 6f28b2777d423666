"""The exact top-k of the codes, block by block.

1. A matrix product scores a block of rows; `bound.margins` says how far each score may be off.
2. The k-th largest lower bound so far is a floor under the k-th best canonical score; rows whose
   upper bound is below it are out. What stays are candidates, ties included.
3. After the last block the candidates that still reach the floor are scored by `stores.score`.

Nothing depends on where blocks begin, so results are the same bits for every block size and
number of threads. Memory: a block of levels plus three score matrices [m block].
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.scan.bound import margins
from attar.stores.scan.pages import pager_of
from attar.stores.score import scores
from attar.stores.snapshot import Part
from attar.stores.types import Float32, Query

BLOCK_BYTES = 8 << 20
QUERIES = 256


@dataclass(frozen=True)
class Target:
    """A part to search: prepared queries for its codec, and which of its rows may be hits."""

    part: Part
    query: Query
    rows: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Candidates of one query with canonical scores: slots int64 [c], scores float32 [c].

    They hold every row whose score reaches the k-th best, ties included; unordered.
    """

    slots: NDArray[np.int64]
    scores: Float32


class Frontier:
    """The floor per query, shared by the threads, and the candidates so far."""

    def __init__(self, m: int, k: int) -> None:
        self.k = k
        self.floor = np.full(m, -np.inf, np.float32)
        self._best = np.full((m, k), -np.inf, np.float32)
        self._lock = threading.Lock()
        self.kept: list[tuple[int, NDArray[np.int64], NDArray[np.int64], Float32]] = []

    def offer(self, target: int, rows: NDArray[np.int64], low: Float32, high: Float32) -> None:
        """Take a block of bounds [m b] into account and keep its candidates."""
        if low.shape[1] > self.k:
            low = -np.partition(-low, self.k - 1, axis=1)[:, : self.k]
        with self._lock:
            joined = np.concatenate([self._best, low], axis=1)
            self._best = -np.partition(-joined, self.k - 1, axis=1)[:, : self.k]
            self.floor = self._best.min(axis=1)
            floor = self.floor
        query, column = np.nonzero(high >= floor[:, None])
        entry = (target, query, rows[column], high[query, column])
        with self._lock:
            self.kept.append(entry)


def scan(
    targets: list[Target], m: int, k: int, threads: int | None, block_bytes: int = BLOCK_BYTES
) -> list[Found]:
    """Candidates for each of m queries; `threads` None leaves threading to the BLAS library."""
    found: list[Found] = []
    for first in range(0, m, QUERIES):
        some = [Target(t.part, _cut(t.query, first), t.rows) for t in targets if t.rows.any()]
        found += _scan_queries(some, min(QUERIES, m - first), k, threads, block_bytes)
    return found


def _cut(query: Query, first: int) -> Query:
    last = first + QUERIES
    return Query(query.coords[first:last], query.const[first:last])


def _scan_queries(
    targets: list[Target], m: int, k: int, threads: int | None, block_bytes: int
) -> list[Found]:
    frontier = Frontier(m, k)
    blocks = _blocks(targets, block_bytes)
    if threads is None:
        for index, rows in blocks:
            _scan_block(targets[index], index, rows, frontier)
    else:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            tasks = [
                pool.submit(_scan_block, targets[index], index, rows, frontier)
                for index, rows in blocks
            ]
            for task in tasks:
                task.result()
    return _rescore(targets, m, frontier)


def _blocks(
    targets: list[Target], block_bytes: int
) -> Iterator[tuple[int, slice | NDArray[np.int64]]]:
    """Ranges of rows where most may be hits, lists of rows where few may."""
    for index, target in enumerate(targets):
        step = max(1, block_bytes // (4 * max(1, target.part.codec.layout.dim)))
        pager = pager_of(target.part)
        n = len(target.rows)
        if 2 * int(target.rows.sum()) >= n:
            step = step if pager is None else min(step, pager.rows)
            for start in range(0, n, step):
                yield index, slice(start, min(start + step, n))
        else:
            step = step if pager is None else min(step, pager.rows)
            rows = np.flatnonzero(target.rows)
            for start in range(0, len(rows), step):
                yield index, rows[start : start + step]


def _scan_block(
    target: Target, index: int, rows: slice | NDArray[np.int64], frontier: Frontier
) -> None:
    part, query = target.part, target.query
    levels = part.codec.layout.unpack(part.codes(rows))
    sqnorm = part.sqnorm(rows)
    with np.errstate(under="ignore"):
        fast = query.coords @ levels.y.T
        fast *= levels.factor
        fast += query.const[:, None]
        if sqnorm is not None:
            fast -= sqnorm
        margin = margins(query.coords, query.const, levels, sqnorm)
    part.segment.release()
    low, high = fast - margin, fast + margin
    if isinstance(rows, slice):
        allowed = target.rows[rows]
        low[:, ~allowed] = -np.inf
        high[:, ~allowed] = np.nan
        rows = np.arange(rows.start, rows.stop)
    frontier.offer(index, rows, low, high)


def _rescore(targets: list[Target], m: int, frontier: Frontier) -> list[Found]:
    """Canonical scores of the candidates that still reach the floor."""
    pieces: list[list[tuple[NDArray[np.int64], Float32]]] = [[] for _ in range(m)]
    for index, target in enumerate(targets):
        mine = [entry for entry in frontier.kept if entry[0] == index]
        if not mine:
            continue
        queries = np.concatenate([entry[1] for entry in mine])
        rows = np.concatenate([entry[2] for entry in mine])
        reach = np.concatenate([entry[3] for entry in mine]) >= frontier.floor[queries]
        order = np.argsort(queries[reach], kind="stable")
        queries, rows = queries[reach][order], rows[reach][order]
        bounds = np.searchsorted(queries, np.arange(m + 1))
        for q in range(m):
            chosen = np.sort(rows[bounds[q] : bounds[q + 1]])
            if len(chosen):
                pieces[q].append(_canonical(target, q, chosen))
    return [_join(piece) for piece in pieces]


def _canonical(
    target: Target, q: int, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Float32]:
    part, query = target.part, target.query
    pager = pager_of(part)
    step = len(rows) if pager is None else pager.rows
    exact = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        levels = part.codec.layout.unpack(part.codes(some))
        with np.errstate(under="ignore"):
            exact[first : first + step] = scores(
                query.coords[q], query.const[q], levels, part.sqnorm(some)
            )
        part.segment.release()
    return part.slots_of(rows), exact


def _join(pieces: list[tuple[NDArray[np.int64], Float32]]) -> Found:
    if not pieces:
        return Found(np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Found(
        np.concatenate([slots for slots, _ in pieces]),
        np.concatenate([values for _, values in pieces]),
    )
