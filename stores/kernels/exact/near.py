"""Which rows are worth an exact score, told by integer arithmetic.

near = const + factor * (scale * float32(sum_j q_j x_j)) - sqnorm with int16 q and bytes x: int8 and
uint8 codes as they are, waterfill's levels in 127ths of the largest one of their width. The sum is
exact, so every implementation chooses the same rows. A query's coordinates are off by half a scale
(one part in 32,000), waterfill's levels by half a 127th: a caller keeps a few more rows than k.
"""

import ctypes
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.exact.source import Source, struct_of
from attar.stores.kernels.library import loaded, pointer
from attar.stores.layouts.integers import Integers
from attar.stores.layouts.layout import Layout
from attar.stores.layouts.waterfill import Waterfill
from attar.stores.types import Codes, Float32, Query

WIDEST = 32_000


@dataclass(frozen=True)
class Small:
    """Queries as integers int16 [m e] times scale float32 [m]; the bytes of waterfill's levels."""

    queries: NDArray[np.int16]
    scale: Float32
    table: NDArray[np.int8] | None


def has_bytes(codes: Source) -> bool:
    """Whether rows of these codes can be read as bytes."""
    layout = codes.layout
    return isinstance(layout, Integers) or (isinstance(layout, Waterfill) and not layout.dropped)


def small(codes: Source, query: Query) -> Small:
    """Queries for the bytes of `codes`, as wide as sums in 32 bits allow."""
    coords, table = query.coords, None
    if isinstance(codes.layout, Waterfill):
        table, units = codes.layout.small_levels
        coords = coords * units
    largest = min(WIDEST, (2**31 - 1) // (256 * max(coords.shape[1], 1)))
    scale = np.abs(coords).max(axis=1, initial=0) / np.float32(largest)
    scale = np.maximum(scale, np.float32(1e-30)).astype(np.float32)
    return Small(np.rint(coords / scale[:, None]).astype(np.int16), scale, table)


def reference_scores(
    codes: Source, asked: Small, query: Query, q: int, rows: NDArray[np.int64]
) -> Float32:
    """Near scores of the query with index q."""
    some = codes.codes[rows]
    factor = some.fields.get("scale", some.fields.get("factor"))
    sums = (_bytes(codes.layout, some) @ asked.queries[q].astype(np.int32)).astype(np.float32)
    score = asked.scale[q] * sums
    score = score if factor is None else factor[:, 0].astype(np.float32) * score
    score = np.float32(query.const[q]) + score
    result = score if codes.sqnorm is None else score - codes.sqnorm[rows]
    return np.asarray(result, np.float32)


def reference_near(
    codes: Source, query: Query, rows: NDArray[np.int64], kept: int
) -> NDArray[np.int64]:
    """As `native_near`, in numpy."""
    asked = small(codes, query)
    best = np.full((len(rows), kept), -1, np.int64)
    for q, wanted in enumerate(rows):
        given = wanted[wanted >= 0]
        score = reference_scores(codes, asked, query, q, given)
        chosen = np.sort(given[np.lexsort((given, -score))[:kept]])
        best[q, : len(chosen)] = chosen
    return best


@dataclass(frozen=True)
class Limits:
    """Of all rows of some codes at most: |factor * y|, |factor|, |sqnorm|."""

    length: float
    factor: float
    norm: float

    @classmethod
    def of(cls, codes: Source, length: float) -> Self:
        """Those of codes whose rows have at most this length."""
        fields = codes.codes.fields
        factors = fields.get("scale", fields.get("factor"))
        factor = 1.0 if factors is None else float(np.abs(factors).max(initial=0))
        norm = 0.0 if codes.sqnorm is None else float(np.abs(codes.sqnorm).max(initial=0))
        return cls(length, factor, norm)


def slack(codes: Source, asked: Small, query: Query, limits: Limits) -> float:
    """How far the near score of the first query may be from the canonical one, at most.

    Half a step of a query's integers over |y| in the 1-norm, at most sqrt(e) times its length; half
    a byte of waterfill's levels, all of them the wrong way; and the rounding of either sum.
    """
    q = query.coords[0].astype(np.float64)
    e = len(q)
    if isinstance(codes.layout, Waterfill):
        units = codes.layout.small_levels[1].astype(np.float64)
        # Integers times scale / unit approach q, bytes times unit approach y.
        steps = 0.5 * float(asked.scale[0]) * 127 * e
        off = limits.factor * (steps + 0.5 * float(np.abs(q) @ units))
    else:
        off = 0.5 * float(asked.scale[0]) * np.sqrt(e) * limits.length
    size = float(np.linalg.norm(q)) * limits.length + abs(float(query.const[0])) + off
    return 1.001 * off + 2.0**-22 * (e + 8) * (size + limits.norm)


def _bytes(layout: Layout, codes: Codes) -> NDArray[np.int32]:
    if isinstance(layout, Waterfill):
        cells, trellis = layout.unpack_bits(codes)
        return layout.small_levels[0][layout.places(cells, trellis)].astype(np.int32)
    return codes.fields["code"].astype(np.int32)


def native_near(
    codes: Source, query: Query, rows: NDArray[np.int64], kept: int, level: int, threads: int
) -> NDArray[np.int64]:
    """Of rows int64 [m c] the `kept` nearest of each query, ascending, -1 behind: [m kept]."""
    asked = small(codes, query)
    rows = np.ascontiguousarray(rows, np.int64)
    constant = np.ascontiguousarray(query.const, np.float32)
    table = padded_table(asked.table)
    best = np.empty((len(rows), kept), np.int64)
    loaded().attar_exact_near(
        ctypes.byref(struct_of(codes)),
        pointer(table),
        pointer(asked.queries),
        pointer(asked.scale),
        pointer(constant),
        ctypes.c_int64(len(rows)),
        pointer(rows),
        ctypes.c_int64(rows.shape[1]),
        ctypes.c_int64(kept),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(best),
    )
    return best


def native_reach(
    codes: Source,
    asked: Small,
    query: Query,
    rows: NDArray[np.int64],
    floor: float,
    level: int,
    threads: int,
) -> NDArray[np.int64]:
    """Of rows int64 [c] those whose near score for the one query reaches the floor, ascending."""
    rows = np.ascontiguousarray(rows, np.int64)
    constant = np.ascontiguousarray(query.const, np.float32)
    table = padded_table(asked.table)
    best = np.empty(len(rows), np.int64)
    call = loaded().attar_exact_reach
    call.restype = ctypes.c_int64
    count = call(
        ctypes.byref(struct_of(codes)),
        pointer(table),
        pointer(asked.queries),
        pointer(asked.scale),
        pointer(constant),
        pointer(rows),
        ctypes.c_int64(len(rows)),
        ctypes.c_float(floor),
        ctypes.c_int32(threads),
        ctypes.c_int32(level),
        pointer(best),
    )
    return best[:count]


def padded_table(table: NDArray[np.int8] | None) -> NDArray[np.int8] | None:
    """Room behind the last level: registers are filled whole."""
    return None if table is None else np.append(table, np.zeros(512, np.int8))
