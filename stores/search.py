"""One search over a snapshot: prepare per codec, scan, order."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores import metric as metrics
from attar.stores.disk.library import Library
from attar.stores.errors import CorruptStoreError
from attar.stores.filters.dialect import matching
from attar.stores.scan.exact import Found, Target
from attar.stores.scan.fast import find
from attar.stores.scan.how import How
from attar.stores.scan.order import ordered
from attar.stores.snapshot import Part, Snapshot
from attar.stores.types import Float32, Hits, Query

_TRIES = 10


def search(
    library: Library,
    queries: Float32,
    k: int,
    filter: Mapping[str, Any] | None,
    how: How,
) -> Hits:
    """The top-k of the codes for checked queries [m d], exact unless `how` says otherwise.

    Another thread may commit between the scan and the look at the documents; the search then
    starts again, the last time with commits held back.
    """
    for _ in range(_TRIES):
        snapshot = library.snapshot
        try:
            return _search(library, snapshot, queries, k, filter, how)
        except CorruptStoreError:
            if library.snapshot is snapshot:
                raise
    with library.guard:
        return _search(library, library.snapshot, queries, k, filter, how)


def _search(
    library: Library,
    snapshot: Snapshot,
    queries: Float32,
    k: int,
    filter: Mapping[str, Any] | None,
    how: How,
) -> Hits:
    snapshot.check_sizes()
    rows = allowed(library, snapshot, filter)
    width = min(k, sum(int(mask.sum()) for mask in rows))
    m = len(queries)
    if width == 0 or m == 0:
        return Hits(np.empty((m, width), object), np.empty((m, width), np.float32))
    found = candidates(library, snapshot, rows, queries, width, how)
    return ordered(found, width, library.names)


def candidates(
    library: Library,
    snapshot: Snapshot,
    rows: list[NDArray[np.bool_]],
    queries: Float32,
    k: int,
    how: How,
) -> list[Found]:
    """Every row that reaches the k-th best score of its query, ties included, if exact."""
    metric = str(library.meta["metric"])
    by_codec: dict[str, Query] = {}
    targets = []
    for part, mask in zip(snapshot.parts, rows, strict=True):
        name = part.row.codec
        if name not in by_codec:
            by_codec[name] = metrics.prepared(queries, metric, part.codec)
        targets.append(Target(part, by_codec[name], mask))
    return find(targets, len(queries), k, how)


def allowed(
    library: Library, snapshot: Snapshot, filter: Mapping[str, Any] | None
) -> list[NDArray[np.bool_]]:
    """For each part which rows may be hits: the live ones that match."""
    if filter is None:
        return [part.live for part in snapshot.parts]
    with library.reading() as connection:
        slots = matching(filter, connection, lambda: live_slots(snapshot))
    return [part_mask(part, slots) & part.live for part in snapshot.parts]


def part_mask(part: Part, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Sorted slots as a mask over the rows of a part."""
    mask = np.zeros(part.row.rows, bool)
    first, last = np.searchsorted(slots, [part.row.first_row, part.row.last_row + 1])
    found = part.rows_of(slots[first:last])
    mask[found[found >= 0]] = True
    return mask


def live_slots(snapshot: Snapshot) -> NDArray[np.int64]:
    """All live slots, ascending."""
    parts = [part.slots_of(np.flatnonzero(part.live)) for part in snapshot.parts]
    return np.concatenate([np.zeros(0, np.int64), *parts])
