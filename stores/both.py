"""What both models of an upgrade say about a query: one set of candidates, two scores each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores import metric as metrics
from attar.stores.disk.library import Library
from attar.stores.inputs import check_queries
from attar.stores.kernels.exact import exact_scores
from attar.stores.scan.exact import Found, Target
from attar.stores.scan.fast import find, scanner
from attar.stores.scan.how import How
from attar.stores.search import allowed, part_mask
from attar.stores.snapshot import Part
from attar.stores.types import Float32, Query
from attar.stores.upgrading import entry_of, next_codec

Slots = NDArray[np.int64]
Masks = Sequence[NDArray[np.bool_]]


@dataclass(frozen=True)
class Candidates:
    """Of one query: slots int64 [c], ascending, and scores by both models float32 [c].

    A score of the new one is NaN where the slot has no vector of it. query: the new model's,
    prepared, for vectors that come later.
    """

    slots: Slots
    old: Float32
    new: Float32
    query: Query


def both_scores(
    library: Library,
    old: Float32,
    new: Float32,
    k: int,
    filter: Mapping[str, Any] | None = None,
    *,
    scan_new: bool = True,
) -> list[Candidates]:
    """The k best of the old vectors for the same m queries [m d], [m e], scored by both models.

    scan_new: the k best of the new vectors are candidates too, for the price of a second scan.
    """
    snapshot, metric = library.snapshot, str(library.meta["metric"])
    snapshot.check_sizes()
    old = check_queries(old, int(library.meta["dim"]), metric == "cosine")
    new = check_queries(new, int(entry_of(library)["dim"]), metric == "cosine")
    prepared = metrics.prepared(new, metric, next_codec(library))
    rows = allowed(library, snapshot, filter)
    width = min(k, sum(int(np.count_nonzero(mask)) for mask in rows))
    by_codec = {p.row.codec: p.codec for p in snapshot.parts}
    asked = {name: metrics.prepared(old, metric, codec) for name, codec in by_codec.items()}
    before = [
        Target(p, asked[p.row.codec], mask) for p, mask in zip(snapshot.parts, rows, strict=True)
    ]
    masks = _next_masks(snapshot.next, snapshot.parts, rows, filter is not None)
    after = [Target(p, prepared, mask) for p, mask in zip(snapshot.next, masks, strict=True)]
    one = _best(before, len(old), width)
    two = _best(after if scan_new else [], len(new), width)
    found = []
    for q in range(len(old)):
        slots = np.union1d(one[q].slots, two[q].slots)
        a, b = _filled(slots, one[q], before, q), _filled(slots, two[q], after, q)
        found.append(Candidates(slots, a, b, _single(prepared, q)))
    return found


def _next_masks(parts: Sequence[Part], old: Sequence[Part], rows: Masks, filtered: bool) -> Masks:
    """Which new vectors may be hits: those of the slots that the filter left."""
    if not filtered:
        return [part.live for part in parts]
    slots = [p.slots_of(np.flatnonzero(mask)) for p, mask in zip(old, rows, strict=True)]
    some = np.concatenate([np.zeros(0, np.int64), *slots])
    return [part_mask(part, some) & part.live for part in parts]


def _best(targets: list[Target], m: int, k: int) -> list[Found]:
    """The k best of each query and their canonical scores."""
    if not k:
        return [Found(np.zeros(0, np.int64), np.zeros(0, np.float32))] * m
    return [_cut(found, k) for found in find(targets, m, k, How())]


def _cut(found: Found, k: int) -> Found:
    if len(found.slots) <= k:
        return found
    best = np.argpartition(-found.scores, k - 1)[:k]
    return Found(found.slots[best], found.scores[best])


def _filled(slots: Slots, known: Found, targets: list[Target], q: int) -> Float32:
    """Canonical scores of ascending slots [c]; only those that the scan did not give are computed.

    NaN where no part holds the slot alive.
    """
    result = np.full(len(slots), np.nan, np.float32)
    result[np.searchsorted(slots, known.slots)] = known.scores
    rest = np.flatnonzero(np.isnan(result))
    for target in targets:
        if not len(rest):
            break
        part = target.part
        rows = part.rows_of(slots[rest])
        here = rows >= 0
        here[here] = part.live[rows[here]]
        if here.any():
            query = _single(target.query, q)
            result[rest[here]] = exact_scores(scanner(part).source, query, rows[here][None])[0]
            rest = rest[~here]
    return result


def _single(query: Query, q: int) -> Query:
    return Query(query.coords[q : q + 1], query.const[q : q + 1])
