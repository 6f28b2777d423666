"""The exact or nearly exact top-k by native kernels; numpy's scan where they do not run.

Each segment gets a scanner at its first search, kept as long as the segment: pointers to its mapped
arrays, for large segments a cascade (sketch and bounds, in memory: read from the store's folder
`index` when `Store.cluster` left one there), and calibrated widths.
"""

import threading
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, proxy

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.calibration import Calibration, calibrated
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.saved import Shelf
from attar.stores.cascade.search import Widths, approximate, certified
from attar.stores.disk.forking import no_fork
from attar.stores.disk.segment import Segment
from attar.stores.graph.index import GraphIndex
from attar.stores.graph.saved import load_graph
from attar.stores.graph.search import walked
from attar.stores.graph.windows import Windows
from attar.stores.kernels.exact import Top, exact_top, source
from attar.stores.kernels.library import native_level, thread_count
from attar.stores.scan.exact import Found, Target, scan
from attar.stores.scan.how import RECALL, How
from attar.stores.scan.pages import pager_of
from attar.stores.snapshot import Part
from attar.stores.types import Float32, Query

CASCADE_ROWS = 20_000
"""Smaller segments are scanned whole: that takes less than a millisecond."""

SPARSE = 64
"""A filter that leaves less than one row in so many is scanned whole as well."""

FIRST = Widths(300, 100, 0.3)
"""An exact search gets its first floor from the cells that promise most (`cascade.search`)."""

FEW_QUERIES = 8
"""More queries at once are cheaper by a scan, which reads the sketch once for all of them."""

GRAPH_SHARE = 4
"""A filter that leaves less than one row in so many is left to the sketch: walks do not see it."""

SMALL_WORK = 500_000
"""Rows times queries below which a second thread costs more than it brings."""


class Scanner:
    """What one segment needs to be searched."""

    def __init__(self, part: Part) -> None:
        # Kept as long as the segment is: what holds on to it here would keep both for ever.
        segment: Any = proxy(part.segment)
        self._part = replace(part, live=part.live[:0], segment=segment)
        everything = slice(0, part.row.rows)
        bare = source(part.codec.layout, part.codes(everything), part.sqnorm(everything))
        self.source = replace(bare, pager=pager_of(part))
        part.segment.release()
        self._lock = threading.Lock()
        self._cascade: Cascade | None = None
        self._calibration = Calibration()
        self._graph: tuple[GraphIndex, Windows] | None = None
        self._graph_sought = False

    def cascade(self) -> Cascade:
        """The sketch: as it was saved, or in the frame that was saved, or made here.

        Made once, which takes a few microseconds per row.
        """
        with self._lock:
            if self._cascade is None:
                self._cascade, self._calibration = self._found()
            return self._cascade

    def _found(self) -> tuple[Cascade, Calibration]:
        shelf, codec = Shelf.of(self._part), self._part.row.codec
        known = shelf.frame(codec)
        if known is None:
            gram = gram_of(self._part.codec)
            return Cascade.build(self.source, gram, threads=None), Calibration()
        name, frame = known
        saved = shelf.load(self._part, self.source, name, frame)
        if saved is not None:
            return saved
        # A segment that came after the cells were made: its rows go to the cells that there are.
        return Cascade.encode(self.source, frame, threads=None), Calibration()

    def install(self, index: Cascade, known: Calibration) -> None:
        """Search with this sketch of the same codes from now on."""
        with self._lock:
            self._cascade, self._calibration = index, known

    def graph(self, recall: float) -> tuple[GraphIndex, int] | None:
        """The saved graph and its pool for a wanted recall; none for codes that stay on disk."""
        if self.source.pager is not None:
            return None
        with self._lock:
            if not self._graph_sought:
                self._graph, self._graph_sought = load_graph(self._part, self.source), True
            if self._graph is None:
                return None
            index, known = self._graph
        window = known.get(recall)
        return None if window is None else (index, window)

    def install_graph(self, index: GraphIndex, known: Windows) -> None:
        """Answer single approximate searches by this graph of the same codes from now on."""
        with self._lock:
            self._graph, self._graph_sought = (index, known), True

    def widths(self, recall: float) -> Widths:
        """Widths for a wanted recall, calibrated once."""
        index = self.cascade()
        with self._lock:
            found = self._calibration.get(recall)
            if found is None or index is not self._cascade:
                found = self._calibration.widths[recall] = calibrated(index, recall)
            return found


_SCANNERS: WeakKeyDictionary[Segment, Scanner] = WeakKeyDictionary()
_LOCK = threading.Lock()


def scanner(part: Part) -> Scanner:
    """The scanner of a part's segment."""
    with no_fork, _LOCK:
        found = _SCANNERS.get(part.segment)
    if found is None:
        found = Scanner(part)
        with no_fork, _LOCK:
            found = _SCANNERS.setdefault(part.segment, found)
    return found


def find(targets: list[Target], m: int, k: int, how: How) -> list[Found]:
    """As `scan.exact.scan`, by the fastest means that `how` allows.

    An exact search returns every row that reaches a target's k-th best score, ties included.
    """
    if native_level(how.impl) is None:
        return scan(targets, m, k, how.threads)
    pieces: list[list[Found]] = [[] for _ in range(m)]
    slow = []
    for target in targets:
        if not target.rows.any():
            continue
        held = scanner(target.part)
        if not held.source.native:
            slow.append(target)
            continue
        for q, (rows, scores) in enumerate(_search(held, target, k, how)):
            pieces[q].append(Found(target.part.slots_of(rows), scores))
    if slow:
        for q, found in enumerate(scan(slow, m, k, how.threads)):
            pieces[q].append(found)
    return [_joined(some) for some in pieces]


Rows = tuple[NDArray[np.int64], Float32]


def _search(held: Scanner, target: Target, k: int, how: How) -> list[Rows]:
    allowed = None if target.rows.all() else target.rows
    matches = len(target.rows) if allowed is None else int(np.count_nonzero(allowed))
    threads = how.threads
    if threads is None:
        threads = thread_count(None) if matches * len(target.query) > SMALL_WORK else 1
    whole = matches < CASCADE_ROWS or matches * SPARSE < len(target.rows) or 100 * k > matches
    if whole:
        return _whole(held, target.query, k, allowed, threads, how.impl)
    if how.exact:
        index = held.cascade()
        found = certified(index, target.query, k, FIRST, allowed, threads, how.impl)
        return [(one.rows, one.scores) for one in found]
    recall = RECALL if how.recall is None else how.recall
    top = _walked(held, target.query, k, recall, allowed, matches, how)
    if top is None:
        widths = held.widths(recall)
        top = approximate(held.cascade(), target.query, k, widths, allowed, threads, how.impl)
    return list(zip(top.rows, top.scores, strict=True))


def _walked(
    held: Scanner,
    query: Query,
    k: int,
    recall: float,
    allowed: NDArray[np.bool_] | None,
    matches: int,
    how: How,
) -> Top | None:
    """By the graph, where there is one, for few queries and a filter that leaves enough."""
    if len(query) > FEW_QUERIES or matches * GRAPH_SHARE < len(held.source):
        return None
    found = held.graph(recall)
    if found is None:
        return None
    index, window = found
    window = -(-window * len(index) // matches)
    return walked(index, query, k, window, allowed, how.threads, how.impl)


def _whole(
    held: Scanner,
    query: Query,
    k: int,
    allowed: NDArray[np.bool_] | None,
    threads: int,
    impl: str,
) -> list[Rows]:
    """Scan all allowed rows; where ties were cut, again for more until none is."""
    top = exact_top(held.source, query, k, allowed, threads, impl)
    results = list(zip(top.rows, top.scores, strict=True))
    for q in np.flatnonzero(top.cut):
        alone = Query(query.coords[q : q + 1], query.const[q : q + 1])
        wanted = k
        while True:
            wanted *= 4
            more = exact_top(held.source, alone, wanted, allowed, threads, impl)
            if not more.cut[0] or more.scores[0, -1] < top.scores[q, -1]:
                break
        reach = more.scores[0] >= top.scores[q, -1]
        results[q] = (more.rows[0][reach], more.scores[0][reach])
    return results


def _joined(pieces: list[Found]) -> Found:
    if not pieces:
        return Found(np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Found(
        np.concatenate([one.slots for one in pieces]),
        np.concatenate([one.scores for one in pieces]),
    )
