"""Bits per dimension: reverse water-filling, by greedy marginal gain and in closed form."""

import heapq

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.levels import DISTORTION

GROUP = 8
"""Dimensions that share a width: a byte of a plane is one bit of eight of them."""

WIDEST = len(DISTORTION) - 1


def greedy_counts(weights: NDArray[np.float64], plane_bytes: int) -> tuple[int, ...]:
    """Plane sizes e_0 >= e_1 >= … that spend exactly `plane_bytes` bytes.

    weights: error per unit of relative distortion of each dimension (variance times what queries
    look at), [e], non-increasing, non-negative. Byte by byte, the group of eight neighbours whose
    next bit removes most error gets it; on a tie the leading one. Weights that fall give widths
    that fall. Raises ValueError when the bytes exceed eight bits a dimension.
    """
    groups = [float(weights[i : i + GROUP].sum()) for i in range(0, len(weights), GROUP)]
    if not 1 <= plane_bytes <= WIDEST * len(groups):
        raise ValueError(
            f"{len(weights)} dimensions take 1 to {WIDEST * len(groups)} bytes of planes, "
            f"got {plane_bytes}; change the size after '@'."
        )
    gain = -np.diff(DISTORTION)
    widths = [0] * len(groups)
    heap = [(-group * gain[0], i) for i, group in enumerate(groups)]
    heapq.heapify(heap)
    for _ in range(plane_bytes):
        _, i = heapq.heappop(heap)
        widths[i] += 1
        if widths[i] < WIDEST:
            heapq.heappush(heap, (-groups[i] * gain[widths[i]], i))
    return counts_of(widths, len(weights))


def closed_form_counts(weights: NDArray[np.float64], plane_bytes: int) -> tuple[int, ...]:
    """BAQ's closed form R_i = R + 1/2 log2(c_i / geometric mean), rounded to the same grid.

    The starting point of the greedy rule, kept for comparison: groups whose R_i is negative drop
    out, R is set again, rates are rounded, and the water level is moved until the bytes fit.
    """
    groups = np.array([weights[i : i + GROUP].sum() for i in range(0, len(weights), GROUP)])
    rate = 0.5 * np.log2(np.maximum(groups, 1e-300))
    low, high = rate.min() - WIDEST - 1, rate.max() + 1
    for _ in range(60):
        level = (low + high) / 2
        spent = np.clip(np.rint(rate - level), 0, WIDEST).sum()
        low, high = (level, high) if spent > plane_bytes else (low, level)
    return counts_of(np.clip(np.rint(rate - high), 0, WIDEST).astype(int).tolist(), len(weights))


def counts_of(widths: list[int], dim: int) -> tuple[int, ...]:
    """Plane sizes of non-increasing widths per group: dimensions with more than p bits."""
    wider = (sum(width > p for width in widths) for p in range(max(widths)))
    return tuple(min(GROUP * groups, dim) for groups in wider)
