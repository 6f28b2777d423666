"""A graph for every large segment of a store, made and saved; see `attar.stores.graph`.

Segments do not change, so a graph that fits its segment stays: what is made again are those of
segments that are new since then, or whose file is missing or damaged.
"""

from attar.stores.cascade.calibration import exam
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.saved import Shelf
from attar.stores.clustering import large_parts
from attar.stores.disk.durable import explained
from attar.stores.disk.library import Library
from attar.stores.graph.index import GraphIndex
from attar.stores.graph.saved import load_graph, save_graph
from attar.stores.graph.windows import windows
from attar.stores.scan import fast
from attar.stores.snapshot import Part

LEAST, MOST = 8, 256


def graph(library: Library, links: int, seed: int, threads: int | None) -> int:
    """Link the large segments of the present commit; returns how many rows have a graph."""
    snapshot = library.snapshot
    rows = 0
    with explained("Linking", library.folder):
        for part in large_parts(snapshot):
            _graph(part, links, seed, threads)
            rows += part.row.rows
        if snapshot.parts:
            Shelf.of(snapshot.parts[0]).tidy(library.snapshot.parts)
    return rows


def _graph(part: Part, links: int, seed: int, threads: int | None) -> None:
    held = fast.scanner(part)
    there = load_graph(part, held.source)
    if there is not None and there[0].graph.links.shape[1] == links:
        held.install_graph(*there)
        return
    index = GraphIndex.build(held.source, gram_of(part.codec), links, seed, threads)
    known = windows(index, exam(held.cascade()), threads=threads)
    save_graph(part, index, known)
    held.install_graph(index, known)


def check_links(links: int) -> int:
    """The most links of a row, checked."""
    if isinstance(links, bool) or not LEAST <= int(links) <= MOST or int(links) % 2:
        raise ValueError(f"links is an even number from {LEAST} to {MOST}, got {links!r}.")
    return int(links)
