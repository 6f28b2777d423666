"""The sketch operations in plain numpy. Scores are integers, so every implementation is equal.

encode   nibble c codes what the nibbles before it left of coordinate axis[c]; its code is the
         number of thresholds below that, in units of spread[c]
top      per query the `wanted` positions of the largest <q, LEVEL[code]> + offset[cell] over the
         head, in the cells that it looks into, ties by position: the `first` most promising, then
         those that promise at least the `results`-th best score of these
select   of these the `kept` largest head_scale * head + body_scale * body, in float32
reach    positions whose bound, head first and then head with body, reaches the floor of their cell
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.sketch.codes import LEVEL, ROWS16, THRESHOLDS, VALUES, SketchCodes
from attar.stores.kernels.sketch.plan import Candidates, EncodePlan, Errors, Reach, SketchQuery
from attar.stores.types import Float32


def encode(a: Float32, plan: EncodePlan, into: SketchCodes, first: int) -> tuple[Float32, Float32]:
    """Write positions first … of coordinates a [n, axes]; squared errors [n]: head, body."""
    left = np.array(a, np.float32)
    s, t = into.head_dims, into.body_dims
    codes = np.empty((len(a), s + t), np.uint8)
    errors = []
    for c, axis in enumerate(plan.axis):
        if c == s:
            errors.append((left[:, : plan.head_axes] ** 2).sum(axis=1))
        x = left[:, axis] / plan.spread[c]
        codes[:, c] = np.searchsorted(THRESHOLDS, x, side="left")
        left[:, axis] -= VALUES[codes[:, c]] * plan.spread[c]
    if t == 0:
        errors.append((left[:, : plan.head_axes] ** 2).sum(axis=1))
    errors.append((left**2).sum(axis=1))
    rows = first + np.arange(len(a))
    parts = codes[:, :s].reshape(len(a), s // 8, 2, 4)
    for i in range(4):
        byte = parts[:, :, 0, i] | parts[:, :, 1, i] << 4
        into.head[rows // ROWS16, :, 4 * (rows % ROWS16) + i] = byte
    into.body[rows] = codes[:, s : s + t // 2] | codes[:, s + t // 2 :] << 4
    return errors[0], errors[1]


def head_levels(codes: SketchCodes) -> NDArray[np.int32]:
    """LEVEL of every head coordinate, int32 [16 blocks, s]."""
    blocks = codes.head.reshape(len(codes.head), -1, ROWS16, 4)
    both = np.stack([blocks & 15, blocks >> 4], axis=3)
    rows = both.transpose(0, 2, 1, 3, 4).reshape(-1, codes.head_dims)
    return np.asarray(LEVEL[rows], np.int32)


def body_levels(codes: SketchCodes) -> NDArray[np.int32]:
    """LEVEL of every body coordinate, int32 [16 blocks, t]."""
    nibbles = np.concatenate([codes.body & 15, codes.body >> 4], axis=1)
    return np.asarray(LEVEL[nibbles], np.int32)


def places(
    codes: SketchCodes, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which positions hold an allowed row, and the cell of every position."""
    rows = codes.rows_at(np.arange(len(codes.body)))
    valid = rows >= 0 if allowed is None else (rows >= 0) & np.append(allowed, False)[rows]
    return valid, np.repeat(np.arange(codes.cells), ROWS16 * np.diff(codes.starts))


def top(
    codes: SketchCodes, query: SketchQuery, wanted: int, allowed: NDArray[np.bool_] | None
) -> Candidates:
    """The `wanted` best positions by head score."""
    valid, cell = places(codes, allowed)
    scores = query.head @ head_levels(codes).T.astype(np.int64)
    found = Candidates.empty(len(query.head), min(wanted, int(valid.sum())))
    for q, all_scores in enumerate(scores):
        values = all_scores + query.offsets[q, cell]
        seen = np.flatnonzero(valid & looked_into(query, q, values, valid, cell)[cell])
        order = seen[np.lexsort((seen, -values[seen]))[: found.positions.shape[1]]]
        found.counts[q] = len(order)
        found.positions[q, : len(order)], found.scores[q, : len(order)] = order, values[order]
    return found


def looked_into(
    query: SketchQuery,
    q: int,
    values: NDArray[np.int64],
    valid: NDArray[np.bool_],
    cell: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """The cells bool [c] that query q looks into; values, valid and cell are of all positions."""
    hopes = None if query.hopes is None else query.hopes[q]
    some = np.zeros(query.offsets.shape[1], bool)
    if hopes is None:
        return ~some
    some[np.argsort(-hopes, kind="stable")[: query.first]] = True
    so_far = np.sort(values[valid & some[cell]])
    if len(so_far) < query.results:
        return ~some | some
    return np.asarray(some | (hopes >= so_far[-query.results]), bool)


def select(
    codes: SketchCodes, query: SketchQuery, found: Candidates, kept: int
) -> NDArray[np.int64]:
    """The `kept` best of the candidates, int64 [m kept], in no particular order, -1 behind."""
    levels = body_levels(codes)
    kept = min(kept, found.positions.shape[1])
    chosen = np.full((len(found.positions), kept), -1, np.int64)
    for q, count in enumerate(found.counts):
        mine = found.positions[q, :count]
        body = (levels[mine] @ query.body[q]).astype(np.float32)
        score = query.head_scale[q] * found.scores[q, :count].astype(np.float32)
        score += query.body_scale[q] * body
        best = mine[np.lexsort((mine, -score))[:kept]]
        chosen[q, : len(best)] = best
    return chosen


def reach(
    codes: SketchCodes,
    query: SketchQuery,
    errors: Errors,
    floor: Reach,
    allowed: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int64], int]:
    """Positions of a single query that neither bound excludes; how many passed the first."""
    valid, cell = places(codes, allowed)
    head_floor, body_floor = np.full((2, codes.cells), np.inf, np.float32)
    head_floor[floor.cells], body_floor[floor.cells] = floor.head_floor, floor.body_floor
    e = errors.steps.astype(np.float32)
    head = query.head_scale[0] * (head_levels(codes) @ query.head[0]).astype(np.float32)
    unknown = np.float32(floor.head_error) * e[0] + np.float32(floor.head_rest) * e[1]
    at = np.flatnonzero(valid & (head + unknown >= head_floor[cell]))
    body = query.body_scale[0] * (body_levels(codes)[at] @ query.body[0]).astype(np.float32)
    unknown = np.float32(floor.body_error) * e[2, at] + np.float32(floor.body_rest) * e[3, at]
    return at[head[at] + body + unknown >= body_floor[cell[at]]], len(at)
