# Triton compiles these functions from their source; its language has no Python types.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# mypy: disable-error-code="import-untyped,import-not-found"
# ruff: noqa: ANN001, ANN202
"""MaxSim on a GPU: Triton proposes, the canonical order decides.

1. A program decodes the rows of one document, multiplies them with 16 query vectors in float32 and
   keeps the best of each, so that no matrix of all rows is written.
2. The sums of these are off by at most the sum of the margins of their vectors. Candidates are the
   documents within twice that of the k-th best; they are scored again in the canonical order.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from attar.stores.kernels.exact.triton import (
    COLUMNS,
    QUERIES,
    UNIT,
    DeviceCodes,
    _constants,
    _levels,
    _margin,
    canonical,
)
from attar.stores.types import Float32, Query

INF = tl.constexpr(float("inf"))


@triton.jit
def _best(
    code,
    table,
    starts_of_planes,
    widths,
    factor,
    sqnorm,
    coords,
    const,
    starts,
    out,
    m,
    groups,
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
) -> None:
    """Best fast score of a block of queries within one group of at most BN rows."""
    group = tl.program_id(0)
    first = tl.load(starts + group)
    last = tl.load(starts + group + 1)
    rows = first + tl.arange(0, BN)
    asked = tl.program_id(1) * BM + tl.arange(0, BM)
    sums = tl.zeros((BM, BN), tl.float32)
    for start in range(0, DIM, BE):
        j = start + tl.arange(0, BE)
        inside = (rows[:, None] < last) & (j[None, :] < DIM)
        y = _levels(
            code, table, starts_of_planes, widths, rows[:, None], j[None, :] + rows[:, None] * 0,
            inside, KIND, DIM, WIDTH, COUNT, TAP1, TAP0,
        )  # fmt: skip
        there = (asked[:, None] < m) & (j[None, :] < DIM)
        q = tl.load(coords + asked[:, None] * DIM + j[None, :], mask=there, other=0.0)
        sums += tl.dot(q, tl.trans(y), input_precision="ieee")
    scores = sums * tl.load(factor + rows, mask=rows < last, other=0.0)[None, :]
    scores += tl.load(const + asked, mask=asked < m, other=0.0)[:, None]
    if HAS_NORM:
        scores -= tl.load(sqnorm + rows, mask=rows < last, other=0.0)[None, :]
    scores = tl.where(rows[None, :] < last, scores, -INF)
    tl.store(out + asked * groups + group, tl.max(scores, axis=1), mask=asked < m)


def top(
    held: DeviceCodes,
    query: Query,
    starts: NDArray[np.int64],
    asked: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], Float32]:
    """The k best documents [a k] of each question and their MaxSim, the bits of the reference.

    starts: [g + 1] rows of the documents, none empty. asked: [a + 1] vectors of the questions.
    """
    m, groups, device = len(query), len(starts) - 1, held.code.device
    if bool((np.diff(starts) < 1).any()):
        raise ValueError("Every document has at least one row here.")
    fast = torch.empty((m, groups), dtype=torch.float32, device=device)
    coords = torch.from_numpy(np.ascontiguousarray(query.coords, np.float32)).to(device)
    const = torch.from_numpy(np.ascontiguousarray(query.const, np.float32)).to(device)
    norm = held.factor if held.sqnorm is None else held.sqnorm
    most = max(16, triton.next_power_of_2(int(np.diff(starts).max())))
    _best[(groups, triton.cdiv(m, QUERIES))](
        held.code, held.table, held.starts, held.widths, held.factor, norm, coords, const,
        torch.from_numpy(np.ascontiguousarray(starts, np.int64)).to(device), fast, m, groups,
        **_constants(held), HAS_NORM=held.sqnorm is not None, BN=most, BM=QUERIES, BE=COLUMNS,
    )  # fmt: skip
    k = min(k, groups)
    documents = np.empty((len(asked) - 1, k), np.int64)
    scores = np.empty((len(asked) - 1, k), np.float32)
    for i, (first, last) in enumerate(zip(asked[:-1], asked[1:], strict=True)):
        near = fast[first:last].double().sum(dim=0)
        room = sum(_margin(held, query, q) for q in range(first, last))
        # The canonical sum rounds in float32 after every vector.
        room += (last - first) * UNIT * float(fast[first:last].abs().sum(dim=0).max())
        floor = near.topk(k).values[-1] - 2 * room
        chosen = np.flatnonzero((near >= floor).cpu().numpy())
        exact = _exact(held, query, starts, range(first, last), chosen, coords)
        order = np.lexsort((chosen, -exact))[:k]
        documents[i], scores[i] = chosen[order], exact[order]
    return documents, scores


def _exact(
    held: DeviceCodes,
    query: Query,
    starts: NDArray[np.int64],
    vectors: range,
    chosen: NDArray[np.int64],
    coords: torch.Tensor,
) -> Float32:
    """Canonical MaxSim [c] of the chosen documents."""
    rows = np.concatenate([np.arange(starts[g], starts[g + 1]) for g in chosen])
    first = np.cumsum([0, *(starts[chosen + 1] - starts[chosen])[:-1]])
    there = torch.from_numpy(rows).to(held.code.device)
    total = np.zeros(len(chosen), np.float32)
    for q in vectors:
        scores = canonical(held, coords[q], float(query.const[q]), there).cpu().numpy()
        total += np.maximum.reduceat(scores, first)
    return total
