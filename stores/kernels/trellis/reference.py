"""The truth of the trellis search, in numpy: Viterbi over the dimensions, last one first.

Float32 throughout, in this order, so that other implementations can agree bit for bit:

    dist_j(c) = ((u_j - y) * (u_j - y)) * weight_j       y: the level of subset c nearest to u_j
    cost'(s)  = min over the two windows w = s, s | S of cost(w >> 1) + dist_j(subset(w))

The window's bit k is t_(j+k); a tie keeps the window without S. "Nearest" is looked up at the
centre of the bin of u_j among BINS equal ones between the outermost levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.layouts.waterfill import Waterfill, fine_start
from attar.stores.types import Float32

BINS = 1024
ROWS = 512


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


def quantise(
    u: Float32, layout: Waterfill, weight: Float32
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Rows u float32 [n e] in units of the levels to cells and trellis bits, uint8 [n e] each.

    Minimises sum_j weight_j (u_j - y_j)^2 for each row over all paths; u is not changed.
    """
    cells = np.empty(u.shape, np.uint8)
    trellis = np.empty(u.shape, np.uint8)
    for start in range(0, len(u), ROWS):
        rows = slice(start, start + ROWS)
        index, dist = _distances(u[rows], layout, weight)
        bits, picked = cheapest_path(dist, layout.taps)
        chosen = np.take_along_axis(index, picked[:, None], axis=1)[:, 0]
        cells[rows] = (chosen >> 2).T
        trellis[rows] = bits.T
    return cells, trellis


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
