# Triton compiles these functions from their source; its language has no Python types.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# mypy: disable-error-code="import-untyped,import-not-found"
# ruff: noqa: ANN001, ANN202
"""Exact top-k on a GPU: Triton proposes, the canonical order decides.

1. A program takes 64 rows and 16 queries, decodes the codes (uint8, by shifts) and multiplies in
   float32; of its scores it keeps the k best per query, so that no score matrix is written.
2. Fast scores are off by at most `margin`, the bound of stores/scan/bound.py. Candidates are all
   rows within twice the margin of the k-th best; a block whose list is full of candidates gives
   all of its rows.
3. Candidates are decoded again and scored in the canonical order by single torch operations, which
   no compiler fuses into multiply-adds. The results are the bits that the CPU gives.

Codes are passed as uint8 whatever their type: interpreters and GPUs differ in float8 conversions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from attar.stores.kernels.exact.source import KINDS, Source
from attar.stores.kernels.exact.top import Top
from attar.stores.layouts.waterfill import Waterfill
from attar.stores.score import LANES
from attar.stores.types import Query

ROWS = 64
QUERIES = 16
COLUMNS = 32
UNIT = 2.0**-24
E4M3, E5M2, E3M4, INT8, UINT8, PLANES = (KINDS.index(name) for name in KINDS[3:])
INF = tl.constexpr(float("inf"))


@dataclass(frozen=True)
class DeviceCodes:
    """Codes on a device. code uint8 [n w]; for waterfill the planes side by side, `starts` their
    first byte, with fine levels and tap offsets. largest: max of factor * |y|.
    """  # noqa: D205 - one sentence

    source: Source
    kind: int
    code: torch.Tensor
    factor: torch.Tensor
    sqnorm: torch.Tensor | None
    table: torch.Tensor
    starts: torch.Tensor
    widths: torch.Tensor
    taps: tuple[int, int]
    largest: float

    @property
    def dim(self) -> int:
        """Columns of the levels."""
        return self.source.layout.dim


def to_device(source: Source, device: str) -> DeviceCodes:
    """Copy codes of an int8, uint8, float8 or complete waterfill layout to a device."""
    layout, fields = source.layout, source.codes.fields
    if source.struct is None or source.struct.kind not in (E4M3, E5M2, E3M4, INT8, UINT8, PLANES):
        raise ValueError(
            f"The GPU kernel takes int8, float8 and waterfill codes, got {layout.describe()}. "
            "Search other codes on the CPU."
        )
    table, starts, widths = np.zeros(1, np.float32), np.zeros(1, np.int32), np.ones(1, np.int32)
    taps = (0, 0)
    if isinstance(layout, Waterfill):
        if layout.dropped:
            raise ValueError("The GPU kernel takes whole waterfill codes; load every plane.")
        planes = [np.asarray(fields[f"plane{p}"]) for p in range(len(layout.counts))]
        code = np.concatenate(planes, axis=1)
        starts = np.cumsum([0] + [plane.shape[1] for plane in planes[:-1]]).astype(np.int32)
        table, widths, taps = layout.fine, layout.widths.astype(np.int32), layout.taps
    else:
        code = np.ascontiguousarray(fields["code"]).view(np.uint8)
    scale = fields.get("scale", fields.get("factor"))
    n = len(source)
    factor = np.ones(n, np.float32) if scale is None else scale[:, 0].astype(np.float32)
    place = torch.device(device)
    held = DeviceCodes(
        source,
        int(source.struct.kind),
        torch.from_numpy(np.ascontiguousarray(code)).to(place),
        torch.from_numpy(np.ascontiguousarray(factor)).to(place),
        None if source.sqnorm is None else torch.from_numpy(source.sqnorm).to(place),
        torch.from_numpy(np.array(table, np.float32)).to(place),
        torch.from_numpy(starts).to(place),
        torch.from_numpy(widths).to(place),
        taps,
        0.0,
    )
    return DeviceCodes(**{**held.__dict__, "largest": _largest(held)})


@triton.jit
def _bit(code, row, start, j, inside, WIDTH):
    byte = tl.load(code + row * WIDTH + start + j // 8, mask=inside, other=0)
    return (byte.to(tl.int32) >> (j % 8)) & 1


@triton.jit
def _levels(
    code,
    table,
    starts,
    widths,
    row,
    j,
    inside,
    KIND: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    COUNT: tl.constexpr,
    TAP1: tl.constexpr,
    TAP0: tl.constexpr,
):
    """Levels float32 of (row, column j) pairs of any shape; zero where not inside."""
    if KIND == 8:
        width = tl.load(widths + j, mask=inside, other=1)
        cell = row * 0 + j * 0
        for p in tl.static_range(COUNT - 1):
            plane = COUNT - 1 - p
            has = inside & (plane < width)
            bit = _bit(code, row, tl.load(starts + plane), j, has, WIDTH)
            cell = tl.where(has, cell * 2 + bit, cell)
        c1 = cell * 0
        c0 = cell * 0
        for k in tl.static_range(9):
            t = _bit(code, row, 0, j + k, inside & (j + k < DIM), WIDTH)
            c1 = c1 ^ (t * ((TAP1 >> k) & 1))
            c0 = c0 ^ (t * ((TAP0 >> k) & 1))
        place = (1 << (width + 1)) - 4 + 4 * cell + 2 * c1 + c0
        return tl.load(table + place, mask=inside, other=0.0)
    byte = tl.load(code + row * WIDTH + j, mask=inside, other=0).to(tl.int32)
    if KIND == 7:
        return byte.to(tl.float32)
    if KIND == 6:
        return (byte - ((byte >> 7) << 8)).to(tl.float32)
    sign = (byte & 0x80) << 8
    if KIND == 4:
        half = byte << 8
        scale = 1.0
    elif KIND == 3:
        half = sign | ((byte & 0x7F) << 7)
        scale = 256.0
    else:
        half = sign | ((byte & 0x7F) << 6)
        scale = 4096.0
    return half.to(tl.uint16).to(tl.float16, bitcast=True).to(tl.float32) * scale


@triton.jit
def _scan(
    code,
    table,
    starts,
    widths,
    factor,
    sqnorm,
    coords,
    const,
    out_scores,
    out_rows,
    n,
    m,
    blocks,
    KIND: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    COUNT: tl.constexpr,
    TAP1: tl.constexpr,
    TAP0: tl.constexpr,
    HAS_NORM: tl.constexpr,
    BN: tl.constexpr,
    BM: tl.constexpr,
    BE: tl.constexpr,
    KEEP: tl.constexpr,
) -> None:
    """The KEEP best fast scores of a block of rows for a block of queries, with their rows."""
    block = tl.program_id(0)
    rows = (block * BN + tl.arange(0, BN)).to(tl.int64)
    asked = tl.program_id(1) * BM + tl.arange(0, BM)
    sums = tl.zeros((BM, BN), tl.float32)
    for start in range(0, DIM, BE):
        j = start + tl.arange(0, BE)
        inside = (rows[:, None] < n) & (j[None, :] < DIM)
        y = _levels(
            code, table, starts, widths, rows[:, None], j[None, :] + rows[:, None] * 0, inside,
            KIND, DIM, WIDTH, COUNT, TAP1, TAP0,
        )  # fmt: skip
        there = (asked[:, None] < m) & (j[None, :] < DIM)
        q = tl.load(coords + asked[:, None] * DIM + j[None, :], mask=there, other=0.0)
        sums += tl.dot(q, tl.trans(y), input_precision="ieee")
    scores = sums * tl.load(factor + rows, mask=rows < n, other=0.0)[None, :]
    scores += tl.load(const + asked, mask=asked < m, other=0.0)[:, None]
    if HAS_NORM:
        scores -= tl.load(sqnorm + rows, mask=rows < n, other=0.0)[None, :]
    scores = tl.where(rows[None, :] < n, scores, -INF)
    column = tl.arange(0, BN)
    for place in range(KEEP):
        best = tl.max(scores, axis=1)
        where = tl.argmax(scores, axis=1)
        at = (asked * blocks + block) * KEEP + place
        tl.store(out_scores + at, best, mask=asked < m)
        tl.store(out_rows + at, block.to(tl.int64) * BN + where, mask=asked < m)
        scores = tl.where(column[None, :] == where[:, None], -INF, scores)


@triton.jit
def _decode(
    code,
    table,
    starts,
    widths,
    rows,
    out,
    count,
    KIND: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    COUNT: tl.constexpr,
    TAP1: tl.constexpr,
    TAP0: tl.constexpr,
    BN: tl.constexpr,
    BE: tl.constexpr,
) -> None:
    """Levels of the given rows, out float32 [count DIM]."""
    at = tl.program_id(0) * BN + tl.arange(0, BN)
    row = tl.load(rows + at, mask=at < count, other=0)
    j = tl.program_id(1) * BE + tl.arange(0, BE)
    inside = (at[:, None] < count) & (j[None, :] < DIM)
    y = _levels(
        code, table, starts, widths, row[:, None], j[None, :] + row[:, None] * 0, inside,
        KIND, DIM, WIDTH, COUNT, TAP1, TAP0,
    )  # fmt: skip
    tl.store(out + at[:, None].to(tl.int64) * DIM + j[None, :], y, mask=inside)


def _constants(held: DeviceCodes) -> dict[str, Any]:
    return {
        "KIND": held.kind,
        "DIM": held.dim,
        "WIDTH": held.code.shape[1],
        "COUNT": len(held.starts),
        "TAP1": held.taps[0],
        "TAP0": held.taps[1],
    }


def levels(held: DeviceCodes, rows: torch.Tensor) -> torch.Tensor:
    """Levels float32 [c e] of rows int64 [c] on the device."""
    y = torch.empty((len(rows), held.dim), dtype=torch.float32, device=held.code.device)
    if len(rows):
        grid = (triton.cdiv(len(rows), ROWS), triton.cdiv(held.dim, COLUMNS))
        _decode[grid](
            held.code, held.table, held.starts, held.widths, rows, y, len(rows),
            **_constants(held), BN=ROWS, BE=COLUMNS,
        )  # fmt: skip
    return y


def _largest(held: DeviceCodes) -> float:
    most = 0.0
    for start in range(0, len(held.factor), 1 << 16):
        stop = min(start + (1 << 16), len(held.factor))
        y = levels(held, torch.arange(start, stop, device=held.code.device))
        sizes = torch.linalg.vector_norm(y, dim=1) * held.factor[start:stop].abs()
        most = max(most, float(sizes.max()))
    return most


def canonical(held: DeviceCodes, q: torch.Tensor, const: float, rows: torch.Tensor) -> torch.Tensor:
    """Scores of one query with the given rows, by the formula of stores.score."""
    y = levels(held, rows)
    lanes = torch.zeros((len(rows), LANES), dtype=torch.float32, device=y.device)
    for start in range(0, held.dim, LANES):
        part = y[:, start : start + LANES] * q[start : start + LANES]
        lanes[:, : part.shape[1]] += part
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[:, :width] + lanes[:, width : 2 * width]
    product = held.factor[rows] * lanes[:, 0]
    scores = product + torch.tensor(const, dtype=torch.float32, device=y.device)
    return scores if held.sqnorm is None else scores - held.sqnorm[rows]


def top(held: DeviceCodes, query: Query, k: int) -> Top:
    """The k best rows of each query, the same bits as the reference."""
    n, m = len(held.source), len(query)
    k = min(k, n)
    found = Top(np.empty((m, k), np.int64), np.empty((m, k), np.float32), np.zeros(m, bool))
    if m == 0 or k == 0:
        return found
    fast, rows, coords = _proposals(held, query, min(k, ROWS))
    for q in range(m):
        floor = torch.topk(fast[q].flatten(), k).values[-1] - 2 * _margin(held, query, q)
        chosen = rows[q][fast[q] >= floor]
        full = fast[q][:, -1] >= floor
        if bool(full.any()) and fast.shape[2] < ROWS:
            first = rows.new_tensor(np.flatnonzero(full.cpu().numpy()) * ROWS)
            every = (first[:, None] + torch.arange(ROWS, device=first.device)).flatten()
            chosen = torch.cat([chosen, every[every < n]]).unique()
        chosen = chosen.sort().values
        scores = canonical(held, coords[q], float(query.const[q]), chosen)
        _best(found, q, chosen.cpu().numpy(), scores.cpu().numpy())
    return found


def _proposals(
    held: DeviceCodes, query: Query, keep: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    n, m, device = len(held.source), len(query), held.code.device
    blocks = triton.cdiv(n, ROWS)
    fast = torch.empty((m, blocks, keep), dtype=torch.float32, device=device)
    rows = torch.empty((m, blocks, keep), dtype=torch.int64, device=device)
    coords = torch.from_numpy(np.ascontiguousarray(query.coords, np.float32)).to(device)
    const = torch.from_numpy(np.ascontiguousarray(query.const, np.float32)).to(device)
    norm = held.factor if held.sqnorm is None else held.sqnorm
    _scan[(blocks, triton.cdiv(m, QUERIES))](
        held.code, held.table, held.starts, held.widths, held.factor, norm, coords, const,
        fast, rows, n, m, blocks, **_constants(held), HAS_NORM=held.sqnorm is not None,
        BN=ROWS, BM=QUERIES, BE=COLUMNS, KEEP=keep,
    )  # fmt: skip
    return fast, rows, coords


def _margin(held: DeviceCodes, query: Query, q: int) -> float:
    steps = held.dim + 5
    norm = float(np.linalg.norm(query.coords[q].astype(np.float64)))
    rest = abs(float(query.const[q]))
    rest += 0 if held.sqnorm is None else float(held.sqnorm.abs().max())
    return 2.1 * steps * UNIT * (norm * held.largest + rest)


def _best(found: Top, q: int, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
    k = found.rows.shape[1]
    order = np.lexsort((rows, -scores))
    found.rows[q], found.scores[q] = rows[order[:k]], scores[order[:k]]
    found.cut[q] = len(order) > k and scores[order[k]] == scores[order[k - 1]]
