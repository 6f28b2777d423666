"""How much of a segment under a memory budget may be read before it is let go."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakMethod, proxy

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.residency import AROUND
from attar.stores.disk.segment import Segment
from attar.stores.kernels.exact import Pager
from attar.stores.snapshot import Part
from attar.stores.types import Codes, Float32


def pager_of(part: Part) -> Pager | None:
    """How many rows of a limited segment may be read at once; None without a limit."""
    room = part.segment.room
    if room is None:
        return None
    width = sum(field.bytes_per_vector for field in part.codec.layout.fields)
    # Kept with the segment, which it must not keep alive.
    segment: Any = proxy(part.segment)
    weak = replace(part, live=part.live[:0], segment=segment)

    def taken(rows: NDArray[np.int64]) -> tuple[Codes, Float32 | None]:
        return weak.codes(rows), weak.sqnorm(rows)

    # The other half is for what a search works with.
    rows = max(1, room // max(2 * width, 1))
    near = max(1, AROUND // max(width, 1))
    return Pager(rows, near, taken, _letting_go(part.segment))


def _letting_go(segment: Segment) -> Callable[[], None]:
    """`segment.release`, without keeping the segment alive."""
    known = WeakMethod(segment.release)

    def release() -> None:
        found = known()
        if found is not None:
            found()

    return release
