"""Searches that are more than the k best vectors: words, both, thresholds, groups, pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.disk.library import Library
from attar.stores.filters.dialect import matching
from attar.stores.hybrid import fuse, shape, text_index
from attar.stores.hybrid.shape import Ranking
from attar.stores.scan.how import How
from attar.stores.search import live_slots, search
from attar.stores.types import Float32, Hits

DEPTH = 1000
"""How many of each ranking are fused; pages are stable within this depth."""


@dataclass(frozen=True)
class Wanted:
    """What to do with rankings. `group_by` is a metadata field, dots for nested ones."""

    k: int
    filter: Mapping[str, Any] | None = None
    how: How = How()
    offset: int = 0
    min_score: float | None = None
    group_by: str | None = None
    group_size: int = 1
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(f"offset is at least 0, got {self.offset}.")
        if self.group_size < 1:
            raise ValueError(f"group_size is at least 1, got {self.group_size}.")
        if self.group_size > 1 and self.group_by is None:
            raise ValueError("group_size needs group_by=, the metadata field to group by.")
        if self.min_score is not None and not np.isfinite(self.min_score):
            raise ValueError(f"min_score is a finite number, got {self.min_score!r}.")
        if self.alpha is not None:
            fuse.check_alpha(self.alpha)

    @property
    def plain(self) -> bool:
        """Whether the k best of one ranking are all that is asked."""
        return not self.offset and self.min_score is None and self.group_by is None


def dense_hits(library: Library, queries: Float32, wanted: Wanted) -> Hits:
    """Hits by vectors."""
    if wanted.plain:
        return search(library, queries, wanted.k, wanted.filter, wanted.how)
    with library.guard:
        count = wanted.k + wanted.offset
        while True:
            hits = search(library, queries, count, wanted.filter, wanted.how)
            full = shape.as_rankings(hits)
            done = [_shaped(library, one, wanted) for one in full]
            short = any(len(one) < wanted.k for one in done)
            if not short or hits.ids.shape[1] < count or wanted.group_by is None:
                return shape.as_hits(done)
            count *= 4


def hybrid_hits(
    library: Library, queries: Float32 | None, texts: Sequence[str], wanted: Wanted
) -> Hits:
    """Hits by words and, where there are queries [m d], vectors.

    Reciprocal-rank fusion when alpha is None, else alpha * vectors + (1 - alpha) * words.
    """
    if not library.meta["text_index"]:
        raise ValueError(
            "A search by words needs an index of the texts; this store has none. Open it with "
            "mode='w' and call index_texts(), or create it with text_index=True."
        )
    depth = max(DEPTH, wanted.k + wanted.offset)
    with library.guard:
        sparse = [_words(library, text, depth, wanted.filter) for text in texts]
        dense: list[Ranking] = [[] for _ in texts]
        if queries is not None:
            dense = shape.as_rankings(search(library, queries, depth, wanted.filter, wanted.how))
        both = zip(dense, sparse, strict=True)
        fused = [_fused(one, other, wanted.alpha) for one, other in both]
        return shape.as_hits([_shaped(library, one, wanted) for one in fused])


def _fused(dense: Ranking, sparse: Ranking, alpha: float | None) -> Ranking:
    if alpha is None:
        names = [[name for name, _ in ranking] for ranking in (dense, sparse)]
        scores = fuse.reciprocal_rank(names)
    else:
        scores = fuse.weighted(dict(dense), dict(sparse), alpha)
    return fuse.best(scores, len(scores))


def _words(library: Library, text: str, depth: int, filter: Mapping[str, Any] | None) -> Ranking:
    """The best documents by BM25, of those that match the filter."""
    with library.reading() as connection:
        limit = depth if filter is None else None
        slots, scores = text_index.rank(connection, text, limit)
        if filter is not None:
            live = live_slots(library.snapshot)
            keep = np.isin(slots, matching(filter, connection, lambda: live))
            slots, scores = slots[keep][:depth], scores[keep][:depth]
    names = library.names(slots)
    return fuse.best(
        {names[s]: v for s, v in zip(slots.tolist(), scores.tolist(), strict=True)}, depth
    )


def _shaped(library: Library, ranking: Ranking, wanted: Wanted) -> Ranking:
    if wanted.min_score is not None:
        ranking = shape.above(ranking, wanted.min_score)
    if wanted.group_by is not None:
        groups = _groups(library, [name for name, _ in ranking], wanted.group_by)
        ranking = shape.grouped(ranking, groups, wanted.group_size)
    return ranking[wanted.offset : wanted.offset + wanted.k]


def _groups(library: Library, ids: Sequence[str], field: str) -> dict[str, Any]:
    """Values of a metadata field, of the documents that have it."""
    found = {}
    for _, record in library.records(ids):
        value: Any = record.metadata
        if isinstance(value, dict) and field in value:
            found[record.id] = value[field]
            continue
        for key in field.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found[record.id] = value
    return found
