"""Exact scan: the k best rows by the formula of `stores.score`, and scores of given rows."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact import native, reference
from attar.stores.kernels.exact.near import Limits as Limits
from attar.stores.kernels.exact.near import (
    has_bytes,
    native_near,
    native_reach,
    reference_near,
    reference_scores,
    slack,
    small,
)
from attar.stores.kernels.exact.paging import Pager as Pager
from attar.stores.kernels.exact.source import Source as Source
from attar.stores.kernels.exact.source import source as source
from attar.stores.kernels.exact.top import Top as Top
from attar.stores.kernels.library import native_level, thread_count
from attar.stores.score import scores
from attar.stores.types import Float32, Levels, Query


def exact_top(
    codes: Source,
    query: Query,
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Top:
    """The k best of the allowed rows (bool [n]) for each query: k' = min(k, allowed) columns."""
    if codes.pager is not None and len(codes) > codes.pager.rows:
        return codes.pager.top(
            len(codes), k, lambda rows: _part_top(codes, rows, query, k, allowed, threads, impl)
        )
    level = native_level(impl) if codes.native or impl not in ("auto", "native") else None
    if level is None:
        return reference.top(codes.layout.unpack(codes.codes), codes.sqnorm, query, k, allowed)
    return native.top(codes, query, k, allowed, level, thread_count(threads))


def _part_top(
    codes: Source,
    rows: slice,
    query: Query,
    k: int,
    allowed: NDArray[np.bool_] | None,
    threads: int | None,
    impl: str,
) -> Top:
    mask = None if allowed is None else allowed[rows]
    return exact_top(_range(codes, rows), query, k, mask, threads, impl)


def _range(codes: Source, rows: slice) -> Source:
    """A range of rows as they lie."""
    norms = None if codes.sqnorm is None else codes.sqnorm[rows]
    return source(codes.layout, codes.codes[rows], norms)


Rows = NDArray[np.int64]


def _paged(codes: Source, pager: Pager, wanted: Rows) -> Iterator[tuple[Source, Rows, Rows]]:
    """All wanted rows, ascending, part by part: the part, those that it has, their places in it."""
    for some in pager.groups(len(codes), wanted):
        if isinstance(some, slice):
            among = wanted[slice(*np.searchsorted(wanted, (some.start, some.stop)))]
            yield _range(codes, some), among, among - some.start
        else:
            yield source(codes.layout, *pager.taken(some)), some, np.arange(len(some))


def exact_scores(
    codes: Source,
    query: Query,
    rows: NDArray[np.int64],
    threads: int | None = 1,
    impl: str = "auto",
) -> Float32:
    """Canonical scores [m c] of rows [m c]; a negative row scores minus infinity."""
    if codes.pager is not None:
        return _paged_scores(codes, codes.pager, query, rows, threads, impl)
    level = native_level(impl) if codes.native or impl not in ("auto", "native") else None
    if level is not None:
        return native.row_scores(codes, query, rows, level, thread_count(threads))
    result = np.full(rows.shape, -np.inf, np.float32)
    for q, wanted in enumerate(rows):
        given = wanted[wanted >= 0]
        norm = None if codes.sqnorm is None else codes.sqnorm[given]
        levels = codes.layout.unpack(codes.codes[given])
        result[q, wanted >= 0] = scores(query.coords[q], query.const[q], levels, norm)
    return result


def _paged_scores(
    codes: Source,
    pager: Pager,
    query: Query,
    rows: NDArray[np.int64],
    threads: int | None,
    impl: str,
) -> Float32:
    result = np.full(rows.shape, -np.inf, np.float32)
    wanted = np.unique(rows)
    for part, among, places in _paged(codes, pager, wanted[wanted >= 0]):
        at = np.minimum(np.searchsorted(among, rows), len(among) - 1)
        here = among[at] == rows
        found = exact_scores(part, query, np.where(here, places[at], -1), threads, impl)
        np.copyto(result, found, where=here)
    return result


def exact_near(
    codes: Source,
    query: Query,
    rows: NDArray[np.int64],
    kept: int,
    threads: int | None = 1,
    impl: str = "auto",
) -> NDArray[np.int64]:
    """Of rows [m c] (negative: none) about the `kept` best ones, ascending, -1 behind: [m kept].

    Codes that are not bytes, or that stay on disk and are better read once, keep all of their rows.
    """
    kept = min(kept, rows.shape[1])
    if kept == rows.shape[1] or not has_bytes(codes) or codes.pager is not None:
        return np.sort(rows, axis=1)
    level = native_level(impl) if codes.native or impl not in ("auto", "native") else None
    if level is None:
        return reference_near(codes, query, rows, kept)
    return native_near(codes, query, rows, kept, level, thread_count(threads))


def exact_reach(
    codes: Source,
    query: Query,
    rows: NDArray[np.int64],
    floor: float,
    limits: Limits,
    threads: int | None = 1,
    impl: str = "auto",
) -> NDArray[np.int64]:
    """Of rows [c] all whose canonical score for ONE query reaches the floor, and few others.

    They ascend. Codes that are not bytes keep all of their rows.
    """
    if len(query) != 1:
        raise ValueError(f"exact_reach takes one query, got {len(query)}.")
    if not len(rows) or not has_bytes(codes) or not np.isfinite(floor):
        return np.sort(rows)
    if codes.pager is not None:
        rows, found = np.sort(rows), [rows[:0]]
        for part, among, places in _paged(codes, codes.pager, rows):
            reach = exact_reach(part, query, places, floor, limits, threads, impl)
            found.append(among[np.searchsorted(places, reach)])
        return np.concatenate(found)
    level = native_level(impl) if codes.native or impl not in ("auto", "native") else None
    asked = small(codes, query)
    least = np.float32(floor - slack(codes, asked, query, limits))
    least = np.nextafter(least, np.float32(-np.inf))
    if level is None:
        reach = reference_scores(codes, asked, query, 0, rows) >= least
        return np.sort(rows[reach])
    return native_reach(codes, asked, query, rows, float(least), level, thread_count(threads))


def exact_levels(
    codes: Source,
    rows: slice | NDArray[np.int64],
    threads: int | None = 1,
    impl: str = "auto",
) -> Levels:
    """Levels of a range of rows (a slice without a step) or of given ones, as `layout.unpack`."""
    if isinstance(rows, np.ndarray) and len(rows):
        rows = np.ascontiguousarray(rows, np.int64)
        if rows.min() < 0 or rows.max() >= len(codes):
            raise ValueError(f"Rows lie in 0 … {len(codes) - 1}, got {rows.min()} to {rows.max()}.")
    if codes.pager is not None:
        return _paged_levels(codes, codes.pager, rows, threads, impl)
    level = native_level(impl) if codes.native or impl not in ("auto", "native") else None
    if level is None:
        return codes.layout.unpack(codes.codes[rows])
    y = native.levels(codes, rows, level, thread_count(threads))
    fields = codes.codes.fields
    factor = fields.get("scale", fields.get("factor"))
    if factor is None:
        return Levels(y, np.ones(len(y), np.float32))
    return Levels(y, factor[rows, 0].astype(np.float32))


def _paged_levels(
    codes: Source,
    pager: Pager,
    rows: slice | NDArray[np.int64],
    threads: int | None,
    impl: str,
) -> Levels:
    places: NDArray[np.int64] | None = None
    if isinstance(rows, slice):
        wanted = np.arange(*rows.indices(len(codes))[:2])
    else:
        wanted, places = np.unique(rows, return_inverse=True)
    width = codes.layout.dim
    y, factor = np.empty((len(wanted), width), np.float32), np.empty(len(wanted), np.float32)
    done = 0
    for part, among, inner in _paged(codes, pager, wanted):
        at = slice(done, done := done + len(among))
        levels = exact_levels(part, inner, threads, impl)
        y[at], factor[at] = levels.y, levels.factor
    return Levels(y, factor) if places is None else Levels(y[places], factor[places])
