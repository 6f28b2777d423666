"""The Pareto front, and the point on it that a goal asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from attar.retrieval.planner.measurement import Point

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?", re.IGNORECASE)


@dataclass(frozen=True)
class Goal:
    """Either budget, bytes for codes and side data of the whole corpus, or keep, a share of 1.

    metric: "overlap@10" (share of the exact top ten that is still found) or "ndcg@10" (share of
    float32's nDCG@10).
    """

    budget: int | None = None
    keep: float | None = None
    metric: str = "overlap@10"

    def __post_init__(self) -> None:
        if (self.budget is None) == (self.keep is None):
            raise ValueError("A plan has one goal; pass either --budget 200MB or --keep 0.99.")
        if self.keep is not None and not 0 < self.keep <= 1:
            raise ValueError(f"keep is a share above 0 and at most 1, got {self.keep}; try 0.99.")
        if self.metric not in ("overlap@10", "ndcg@10"):
            raise ValueError(f"The metric is overlap@10 or ndcg@10, got {self.metric!r}.")


def parse_size(text: str) -> int:
    """Bytes of "200MB" (MB = 10^6), "1.5GiB" (2^30) or "1000"."""
    match = SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"A size is a number with B, kB, MB, GB, TB or KiB …, got {text!r}.")
    return int(float(match[1]) * UNITS[(match[2] or "B").upper()])


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats in bytes and predicted quality at once, by bytes."""
    best = -1.0
    kept = []
    for point in sorted(points, key=lambda p: (p.total_bytes, -p.quality.mean, p.spec)):
        if point.quality.mean > best:
            kept.append(point)
            best = point.quality.mean
    return kept


def choose(points: Sequence[Point], goal: Goal) -> Point:
    """Judge by the lower end of the 95 % interval, so that chance alone rarely fails the goal.

    budget: the best lower end among points that fit; keep: the fewest bytes whose lower end is at
    least that. Raises ValueError when nothing fits, with the smallest that there is.
    """
    if goal.budget is not None:
        within = [point for point in points if point.total_bytes <= goal.budget]
        if not within:
            least = min(points, key=lambda p: p.total_bytes)
            raise ValueError(
                f"The smallest candidate, {least.spec}, takes {least.total_bytes:,} bytes and the "
                f"budget is {goal.budget:,}; raise the budget, or reduce the corpus."
            )
        return min(within, key=lambda p: (-p.quality.low, p.total_bytes, p.spec))
    good = [point for point in points if point.quality.low >= (goal.keep or 0.0)]
    if not good:
        best = max(points, key=lambda p: p.quality.low)
        raise ValueError(
            f"No candidate surely keeps {goal.keep}; {best.spec} surely keeps "
            f"{best.quality.low:.4f}. Ask for less, or give more queries."
        )
    return min(good, key=lambda p: (p.total_bytes, -p.quality.low, p.spec))
