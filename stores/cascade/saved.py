"""Frames and sketches in files beside a store: derived data, refused when anything differs.

`index/<codec>.frame` holds a `Frame`, `index/<segment>.sketch` the sketch of one segment in it.
Both are safetensors files whose metadata name the format, a crc32 over all arrays, and what they
were made from: the codec, and for a sketch the segment (its name and the checksum of its header,
which covers the checksums of its data) and the frame. A file that does not fit is left aside with a
warning: it can be made again, and results do not depend on it.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attar.stores.cascade.arrays import Arrays, read_about, read_arrays, write_arrays
from attar.stores.cascade.calibration import Calibration
from attar.stores.cascade.cells import Cells
from attar.stores.cascade.frame import Frame
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import Metric, Projection
from attar.stores.kernels.exact import Source
from attar.stores.kernels.sketch import ROWS16, EncodePlan, Errors, SketchCodes
from attar.stores.snapshot import Part

FOLDER = "index"
MAKER = "Store.cluster"
SKETCH = "2"
"""What a sketch file holds: 2 since cells have spreads; a file without is made again."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shelf:
    """The folder `index` of one store."""

    folder: Path

    @classmethod
    def of(cls, part: Part) -> "Shelf":
        """The shelf of the store that a part belongs to."""
        return cls(part.segment.path.parent.parent / FOLDER)

    def save_frame(self, frame: Frame, codec: str) -> str:
        """Write the frame of a codec's segments, replacing an older one; returns its name."""
        self.folder.mkdir(exist_ok=True)
        metric, plan = frame.projection.metric, frame.projection.plan
        arrays: Arrays = {
            "root": metric.root,
            "inverse": metric.inverse,
            "norm_scale": np.array([metric.norm_scale]),
            "axes": frame.projection.axes,
            "axis": plan.axis,
            "spread": plan.spread,
            "sizes": np.array([plan.head_axes, frame.projection.head_dims]),
            "centres": frame.cells.centres,
            "guide": frame.cells.guide,
        }
        about = {"codec": codec, "cells": str(len(frame.cells))}
        return write_arrays(self.folder / f"{codec}.frame", arrays, about)

    def cells(self, codec: str) -> int:
        """How many cells the frame of a codec has; 0 without one."""
        about = read_about(self.folder / f"{codec}.frame") or {}
        try:
            return int(about.get("cells", 0))
        except ValueError:
            return 0

    def frame(self, codec: str) -> tuple[str, Frame] | None:
        """Name and frame for segments of a codec; None when there is none that is whole."""
        found = read_arrays(self.folder / f"{codec}.frame", {"codec": codec}, MAKER)
        if found is None:
            return None
        a, about = found
        metric = Metric(a["root"], a["inverse"], float(a["norm_scale"][0]))
        leading, head = (int(x) for x in a["sizes"])
        plan = EncodePlan(a["axis"], a["spread"], leading)
        projection = Projection(metric, a["axes"], plan, head)
        return about["crc"], Frame(projection, Cells(a["centres"], a["guide"]))

    def save(self, part: Part, index: Cascade, frame: str, calibration: Calibration) -> None:
        """Write the sketch of a part."""
        codes = index.codes
        arrays: Arrays = {
            "head": codes.head,
            "body": codes.body,
            "starts": codes.starts,
            "steps": index.errors.steps,
            "unit": index.errors.unit,
            "radii": index.radii,
            "spreads": index.spreads,
            "largest": np.array([index.largest]),
        }
        if codes.order is not None:
            arrays["order"] = codes.order
        about = _about(part, frame) | {"calibration": json.dumps(calibration.rows())}
        write_arrays(self.folder / _name(part), arrays, about)

    def load(
        self, part: Part, source: Source, name: str, frame: Frame
    ) -> tuple[Cascade, Calibration] | None:
        """The sketch of a part in this frame; None when there is none that is whole."""
        found = read_arrays(self.folder / _name(part), _about(part, name), MAKER)
        if found is None:
            return None
        a, about = found
        codes = SketchCodes(len(source), a["head"], a["body"], a["starts"], a.get("order"))
        errors = Errors(a["steps"], a["unit"])
        if not _fits(codes, errors, frame):
            LOG.warning("%s holds a sketch of another shape; it is not used.", _name(part))
            return None
        cells = a["radii"], a["spreads"]
        index = Cascade(source, frame, codes, errors, *cells, float(a["largest"][0]))
        return index, Calibration.of_rows(json.loads(about["calibration"]))

    def tidy(self, parts: tuple[Part, ...]) -> None:
        """Remove the files of segments and codecs that the store no longer has."""
        if not self.folder.exists():
            return
        wanted = {_name(part) for part in parts} | {f"{part.row.codec}.frame" for part in parts}
        wanted |= {graph_name(part) for part in parts}
        for path in self.folder.iterdir():
            if path.suffix in (".sketch", ".frame", ".graph", ".tmp") and path.name not in wanted:
                path.unlink(missing_ok=True)


def _name(part: Part) -> str:
    return f"{Path(part.row.file).stem}.sketch"


def graph_name(part: Part) -> str:
    """The file of a part's graph (`attar.stores.graph.saved`)."""
    return f"{Path(part.row.file).stem}.graph"


def made_from(part: Part) -> dict[str, str]:
    """What tells the segment of a part from every other, as metadata."""
    row = part.row
    return {
        "segment": row.file,
        "header": str(row.header_crc),
        "codec": row.codec,
        "rows": str(row.rows),
    }


def _about(part: Part, frame: str) -> dict[str, str]:
    return made_from(part) | {"frame": frame, "sketch": SKETCH}


def _fits(codes: SketchCodes, errors: Errors, frame: Frame) -> bool:
    """Whether the arrays have the sizes and ranges that kernels rely on."""
    blocks, places = len(codes.head), len(codes.body)
    projection = frame.projection
    if (codes.head_dims, codes.body_dims) != (projection.head_dims, projection.body_dims):
        return False
    if codes.cells != len(frame.cells) or (codes.order is None) != (codes.cells == 1):
        return False
    if codes.starts[0] != 0 or codes.starts[-1] != blocks or (np.diff(codes.starts) < 0).any():
        return False
    if places != ROWS16 * blocks or errors.steps.shape != (4, places):
        return False
    if codes.order is None:
        return 0 <= places - codes.rows < ROWS16
    rows = np.sort(codes.order)[: codes.rows]
    return len(codes.order) == places and bool((rows == np.arange(codes.rows)).all())
