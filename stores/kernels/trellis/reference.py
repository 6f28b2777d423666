"""The truth of the trellis search, in numpy: Viterbi over the dimensions, last one first.

Float32 throughout, in this order, so that other implementations can agree bit for bit:

    error(g)  = (sum_j expected(|u_j| * (1 / g)) * weight_j) * (g * g), j ascending
    v         = u * (1 / g) with the gain g of least error, the first of equals
    dist_j(c) = ((v_j - y) * (v_j - y)) * weight_j       y: the level of subset c nearest to v_j
    cost'(s)  = min over the two windows w = s, s | S of cost(w >> 1) + dist_j(subset(w))

The window's bit k is t_(j+k); a tie keeps the window without S. "Nearest" is looked up at the
centre of the bin of v_j among BINS equal ones between the outermost levels. `expected` is the
error that a path leaves at u on average, from `expected_errors`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attar.stores.layouts.waterfill import Waterfill, fine_start
from attar.stores.types import Float32

BINS = 1024
ROWS = 512

COST_BINS = 128
COST_PER_UNIT = 16
SHARES = (0.83, 0.14, 0.03)
"""How much of the error the nearest, second and third level stand for.

Paths take them in 66, 28 and 6 % of the cases, and the farther ones mostly where the difference is
small; with these shares the sum is 2 +- 8 % above the error of widths 1 to 8 on Gaussian samples.
"""


class Paths(NamedTuple):
    """What a search finds for n rows of e dimensions.

    cells v and trellis bits t uint8 [n e]; chosen uint8 [n], the number of the gain; along and
    power float64 [n]: sums of weight v y and of weight y y, of which a factor is made.
    """

    cells: NDArray[np.uint8]
    trellis: NDArray[np.uint8]
    chosen: NDArray[np.uint8]
    along: NDArray[np.float64]
    power: NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """Per bin and subset the nearest of the 2^(w+1) levels of one width.

    index uint16 [4 BINS], level float32 [4 BINS]; bin of u: floor((u + reach) * per_unit), clipped.
    """

    index: NDArray[np.uint16]
    level: Float32
    reach: np.float32
    per_unit: np.float32


def candidates(fine: Float32) -> Candidates:
    """Tabulate the nearest levels; `fine` is ascending and symmetric."""
    reach = fine[-1]
    centres = (np.arange(BINS) + 0.5) * (2 * float(reach) / BINS) - float(reach)
    index = np.empty((4, BINS), np.uint16)
    for subset in range(4):
        levels = fine[subset::4].astype(np.float64)
        index[subset] = 4 * np.searchsorted((levels[1:] + levels[:-1]) / 2, centres) + subset
    return Candidates(index, fine[index], reach, np.float32(BINS / (2 * float(reach))))


def subsets(taps: tuple[int, int]) -> NDArray[np.intp]:
    """Subset 2 c1 + c0 of every window, [2 S]; S states."""
    windows = range(2 * state_count(taps))
    return np.array([2 * _odd(w & taps[0]) + _odd(w & taps[1]) for w in windows])


def state_count(taps: tuple[int, int]) -> int:
    """States S of the trellis: windows have log2(S) + 1 bits."""
    return 1 << (max(taps).bit_length() - 1)


def _odd(bits: int) -> int:
    return bits.bit_count() & 1


def expected_errors(fine: Float32) -> tuple[Float32, np.float32]:
    """Error at |u| in bins of 1 / COST_PER_UNIT, float32 [COST_BINS]; the second largest level.

    Beyond the last bin the error is the square of the distance to that level.
    """
    fineness = 8
    u = (np.arange(COST_BINS * fineness) + 0.5) / (COST_PER_UNIT * fineness)
    square = np.partition((u[:, None] - fine.astype(np.float64)) ** 2, range(len(SHARES)), axis=1)
    square = square[:, : len(SHARES)]
    bins = (square * SHARES).sum(axis=1).reshape(COST_BINS, fineness).mean(axis=1)
    return bins.astype(np.float32), fine[-2]


def quantise(u: Float32, layout: Waterfill, weight: Float32, gains: Float32 | None = None) -> Paths:
    """Rows u float32 [n e] in units of the levels to the paths that come nearest to them.

    gains float32 [g]: what a row may be divided by, default 1; the one that is expected to leave
    least error is taken. Then sum_j weight_j (v_j - y_j)^2 is minimised over all paths. u is not
    changed.
    """
    every = np.ones(1, np.float32) if gains is None else gains
    n = len(u)
    cells, trellis = np.empty(u.shape, np.uint8), np.empty(u.shape, np.uint8)
    chosen, along, power = np.empty(n, np.uint8), np.zeros(n), np.zeros(n)
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        chosen[rows] = best_gain(u[rows], layout, weight, every)
        v = u[rows] * (np.float32(1) / every)[chosen[rows], None]
        index, dist = _distances(v, layout, weight)
        bits, picked = cheapest_path(dist, layout.taps)
        taken = np.take_along_axis(index, picked[:, None], axis=1)[:, 0]
        cells[rows], trellis[rows] = (taken >> 2).T, bits.T
        for j, width in enumerate(layout.widths):
            y = layout.fine[fine_start(width) + taken[j].astype(np.intp)]
            along[rows] += v[:, j] * y * weight[j]
            power[rows] += y * y * weight[j]
    return Paths(cells, trellis, chosen, along, power)


def best_gain(u: Float32, layout: Waterfill, weight: Float32, gains: Float32) -> NDArray[np.uint8]:
    """Number of the gain that is expected to leave least error, for each row: uint8 [n]."""
    errors = np.empty((len(gains), len(u)), np.float32)
    tables = {
        width: expected_errors(layout.fine[fine_start(width) : fine_start(width + 1)])
        for width in map(int, np.unique(layout.widths))
    }
    edge = np.float32(COST_BINS / COST_PER_UNIT)
    for k, gain in enumerate(gains):
        total = np.zeros(len(u), np.float32)
        for j, width in enumerate(map(int, layout.widths)):
            table, outermost = tables[width]
            size = np.abs(u[:, j]) * (np.float32(1) / gain)
            at = (np.minimum(size, edge) * np.float32(COST_PER_UNIT)).astype(np.intp)
            over = size - outermost
            near = table[np.minimum(at, COST_BINS - 1)]
            total += np.where(size < edge, near, over * over) * weight[j]
        errors[k] = total * (gain * gain)
    return np.asarray(np.argmin(errors, axis=0), np.uint8)


def _distances(
    u: Float32, layout: Waterfill, weight: Float32
) -> tuple[NDArray[np.uint16], Float32]:
    """Nearest level of each subset and its weighted squared distance, [e 4 n] each."""
    index = np.empty((layout.dim, 4, len(u)), np.uint16)
    dist = np.empty((layout.dim, 4, len(u)), np.float32)
    for width in np.unique(layout.widths):
        run = np.flatnonzero(layout.widths == width)
        table = candidates(layout.fine[fine_start(width) : fine_start(width + 1)])
        part = np.ascontiguousarray(u[:, run].T)
        places = (np.clip(part, -table.reach, table.reach) + table.reach) * table.per_unit
        bins = np.minimum(places.astype(np.intp), BINS - 1)
        for subset in range(4):
            index[run, subset] = table.index[subset][bins]
            error = part - table.level[subset][bins]
            dist[run, subset] = error * error * weight[run, None]
    return index, dist


def cheapest_path(
    dist: Float32, taps: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Trellis bits uint8 [e n] and subsets [e n] of the cheapest path; dist float32 [e 4 n]."""
    dim, _, n = dist.shape
    states, subset = state_count(taps), subsets(taps)
    state = np.arange(states)
    cost = np.full((states, n), np.inf, np.float32)
    cost[0] = 0
    came = np.empty((dim, states, n), np.bool_)
    for j in reversed(range(dim)):
        low = cost[state >> 1] + dist[j, subset[state]]
        high = cost[(state | states) >> 1] + dist[j, subset[state | states]]
        np.less(high, low, out=came[j])
        cost = np.minimum(low, high)
    bits = np.empty((dim, n), np.uint8)
    picked = np.empty((dim, n), np.intp)
    now, rows = np.argmin(cost, axis=0), np.arange(n)
    for j in range(dim):
        window = now + states * came[j, now, rows]
        bits[j] = now & 1
        picked[j] = subset[window]
        now = window >> 1
    return bits, picked
