"""Fusing rankings of documents; all pure, ties always by id.

`reciprocal_rank` is RRF (Cormack, Clarke, Buettcher, SIGIR 2009): sum over the rankings of
1 / (60 + rank), rank from 1. `weighted` is a convex combination of scores scaled to [0, 1] within
each ranking; a document that one ranking lacks counts there as its worst.
"""

from collections.abc import Mapping, Sequence

CONSTANT = 60


def reciprocal_rank(
    rankings: Sequence[Sequence[str]], weights: Sequence[float] | None = None
) -> dict[str, float]:
    """Fused score of every id in any of the rankings, each best first."""
    factors = [1.0] * len(rankings) if weights is None else list(weights)
    if len(factors) != len(rankings) or any(f < 0 for f in factors):
        raise ValueError(
            f"weights are non-negative, one per ranking: {len(rankings)}, got {factors}."
        )
    fused: dict[str, float] = {}
    for ranking, factor in zip(rankings, factors, strict=True):
        for place, name in enumerate(ranking, start=1):
            fused[name] = fused.get(name, 0.0) + factor / (CONSTANT + place)
    return fused


def weighted(
    dense: Mapping[str, float], sparse: Mapping[str, float], alpha: float
) -> dict[str, float]:
    """Sum of alpha * dense and (1 - alpha) * sparse, each scaled to [0, 1]."""
    check_alpha(alpha)
    fused: dict[str, float] = {}
    for scores, weight in ((dense, alpha), (sparse, 1 - alpha)):
        if weight:
            for name, score in _unit(scores).items():
                fused[name] = fused.get(name, 0.0) + weight * score
    return fused


def check_alpha(alpha: float) -> None:
    """A share between words and vectors."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is between 0 (words only) and 1 (vectors only), got {alpha!r}.")


def _unit(scores: Mapping[str, float]) -> dict[str, float]:
    """Scale to [0, 1]; equal scores are all 1."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    span = high - low
    return {name: (s - low) / span if span else 1.0 for name, s in scores.items()}


def best(scores: Mapping[str, float], k: int) -> list[tuple[str, float]]:
    """The k best, score descending, then id by its UTF-8 bytes."""
    return sorted(scores.items(), key=lambda one: (-one[1], one[0].encode()))[:k]
