"""What is done to a ranking before it becomes hits: thresholds, groups, pages."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attar.stores.types import Hits

Ranking = list[tuple[str, float]]
"""(id, score), best first."""


def above(ranking: Ranking, least: float) -> Ranking:
    """What scores at least `least`."""
    return [one for one in ranking if one[1] >= least]


def grouped(ranking: Ranking, groups: Mapping[str, Any], size: int) -> Ranking:
    """The `size` best of each group, in the order of the ranking; without a group each is its own.

    groups: id -> value of the grouping field; ids that are not in it have none.
    """
    seen: dict[Any, int] = {}
    kept: Ranking = []
    for name, score in ranking:
        key = ("group", repr(groups[name])) if name in groups else ("alone", name)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= size:
            kept.append((name, score))
    return kept


def as_hits(rankings: Sequence[Ranking]) -> Hits:
    """Rankings as one rectangle: shorter rows end with the id None and the score -inf."""
    width = max((len(ranking) for ranking in rankings), default=0)
    ids = np.full((len(rankings), width), None, object)
    scores = np.full((len(rankings), width), -np.inf, np.float32)
    for row, ranking in enumerate(rankings):
        ids[row, : len(ranking)] = [name for name, _ in ranking]
        scores[row, : len(ranking)] = [score for _, score in ranking]
    return Hits(ids, scores)


def as_rankings(hits: Hits) -> list[Ranking]:
    """The rows of hits."""
    return [
        [(str(i), float(s)) for i, s in zip(ids, scores, strict=True) if i is not None]
        for ids, scores in zip(hits.ids, hits.scores, strict=True)
    ]
