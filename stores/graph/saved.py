"""Graphs in files beside a store: derived data, refused when anything differs.

`index/<segment>.graph` is a file as those of `attar.stores.cascade.saved`: it names the segment it
was made from, and a checksum over its arrays. What does not fit is left aside: searches then use
the sketch.
"""

import json
import logging
from pathlib import Path

import numpy as np

from attar.stores.cascade.arrays import Arrays, read_about, read_arrays, write_arrays
from attar.stores.cascade.projection import Metric
from attar.stores.cascade.saved import FOLDER, graph_name, made_from
from attar.stores.graph.index import GraphIndex, Leading
from attar.stores.graph.windows import Windows
from attar.stores.kernels.exact import Source
from attar.stores.kernels.walk import Graph
from attar.stores.snapshot import Part

MAKER = "Store.graph"
LOG = logging.getLogger(__name__)


def path_of(part: Part) -> Path:
    """Where the graph of a part is kept."""
    return part.segment.path.parent.parent / FOLDER / graph_name(part)


def save_graph(part: Part, index: GraphIndex, windows: Windows) -> None:
    """Write the graph of a part and its calibrated windows, replacing an older one."""
    path, leading = path_of(part), index.leading
    path.parent.mkdir(exist_ok=True)
    arrays: Arrays = {
        "root": leading.metric.root,
        "inverse": leading.metric.inverse,
        "norm_scale": np.array([leading.metric.norm_scale]),
        "axes": leading.axes,
        "mean": leading.mean,
        "step": np.array([leading.step]),
        "codes": index.graph.codes,
        "links": index.graph.links,
        "entries": index.graph.entries,
    }
    write_arrays(path, arrays, made_from(part) | {"windows": json.dumps(windows.rows())})


def load_graph(part: Part, source: Source) -> tuple[GraphIndex, Windows] | None:
    """The graph of a part; None when there is none that is whole and fits."""
    found = read_arrays(path_of(part), made_from(part), MAKER)
    if found is None:
        return None
    try:
        return _checked(source, *found)
    except (KeyError, TypeError, ValueError) as error:
        LOG.warning("%s does not fit its segment (%s); it is not used.", path_of(part), error)
        return None


def _checked(source: Source, a: Arrays, about: dict[str, str]) -> tuple[GraphIndex, Windows]:
    metric = Metric(a["root"], a["inverse"], float(a["norm_scale"][0]))
    leading = Leading(metric, a["axes"], a["mean"], float(a["step"][0]))
    graph = Graph(a["codes"], a["links"], a["entries"])
    width = source.layout.dim + (source.sqnorm is not None)
    if len(graph) != len(source) or leading.axes.shape != (width, graph.codes.shape[1]):
        raise ValueError(f"{len(graph)} rows, axes {list(leading.axes.shape)}")
    return GraphIndex(source, leading, graph), Windows.of_rows(json.loads(about["windows"]))


def linked_rows(part: Part) -> int:
    """How many rows of a part have a graph: all, or none without a file that is its own."""
    about = read_about(path_of(part)) or {}
    return part.row.rows if made_from(part).items() <= about.items() else 0
