"""The sketch operations in plain numpy. Scores are integers, so every implementation is equal.

encode   nibble c codes what the nibbles before it left of coordinate axis[c]; its code is the
         number of thresholds below that, in units of spread[c]
top      per query the `wanted` rows of the largest <q, LEVEL[code]> over the head, ties by row
select   of these the `kept` largest head_scale * head + body_scale * body, in float32
reach    rows whose bound, head first and then head with body, reaches a floor
"""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.sketch.codes import LEVEL, ROWS16, THRESHOLDS, VALUES, SketchCodes
from attar.stores.kernels.sketch.plan import Candidates, EncodePlan, Errors, Reach, SketchQuery
from attar.stores.types import Float32


def encode(a: Float32, plan: EncodePlan, into: SketchCodes, first: int) -> tuple[Float32, Float32]:
    """Write rows first … of coordinates a [n, axes]; squared errors [n] after head and body."""
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
    """LEVEL of every head coordinate, int32 [n, s]."""
    blocks = codes.head.reshape(len(codes.head), -1, ROWS16, 4)
    both = np.stack([blocks & 15, blocks >> 4], axis=3)
    rows = both.transpose(0, 2, 1, 3, 4).reshape(-1, codes.head_dims)[: codes.rows]
    return np.asarray(LEVEL[rows], np.int32)


def body_levels(codes: SketchCodes) -> NDArray[np.int32]:
    """LEVEL of every body coordinate, int32 [n, t]."""
    nibbles = np.concatenate([codes.body & 15, codes.body >> 4], axis=1)
    return np.asarray(LEVEL[nibbles], np.int32)


def top(
    codes: SketchCodes, query: SketchQuery, wanted: int, allowed: NDArray[np.bool_] | None
) -> Candidates:
    """The `wanted` best rows by head score."""
    rows = np.arange(codes.rows) if allowed is None else np.flatnonzero(allowed)
    scores = query.head @ head_levels(codes).T.astype(np.int64)
    kept = min(wanted, len(rows))
    found = Candidates.empty(len(query.head), kept)
    for q, all_scores in enumerate(scores):
        order = np.lexsort((rows, -all_scores[rows]))[:kept]
        found.rows[q], found.scores[q] = rows[order], all_scores[rows[order]]
    return found


def select(
    codes: SketchCodes, query: SketchQuery, found: Candidates, kept: int
) -> NDArray[np.int64]:
    """The `kept` best of the candidates, int64 [m kept], in no particular order."""
    levels = body_levels(codes)
    kept = min(kept, found.rows.shape[1])
    chosen = np.empty((len(found.rows), kept), np.int64)
    for q, rows in enumerate(found.rows):
        body = (levels[rows] @ query.body[q]).astype(np.float32)
        score = query.head_scale[q] * found.scores[q].astype(np.float32)
        score += query.body_scale[q] * body
        chosen[q] = rows[np.lexsort((rows, -score))[:kept]]
    return chosen


def reach(
    codes: SketchCodes,
    query: SketchQuery,
    errors: Errors,
    floor: Reach,
    allowed: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int64], int]:
    """Rows of a single query that neither bound excludes, and how many passed the first."""
    e = errors.steps[:, : codes.rows].astype(np.float32)
    head = query.head_scale[0] * (head_levels(codes) @ query.head[0]).astype(np.float32)
    bound = head + (floor.head_error * e[0] + floor.head_rest * e[1])
    passed = bound >= floor.head_floor
    if allowed is not None:
        passed &= allowed
    rows = np.flatnonzero(passed)
    body = query.body_scale[0] * (body_levels(codes)[rows] @ query.body[0]).astype(np.float32)
    bound = head[rows] + body + (floor.body_error * e[2, rows] + floor.body_rest * e[3, rows])
    return rows[bound >= floor.body_floor], len(rows)
