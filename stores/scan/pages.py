"""How much of a segment under a memory budget may be touched before its pages are let go."""

from collections.abc import Callable
from weakref import WeakMethod

from attar.stores.disk.residency import PAGE
from attar.stores.disk.segment import Segment
from attar.stores.kernels.exact import Pager
from attar.stores.snapshot import Part


def pager_of(part: Part) -> Pager | None:
    """How many rows of a limited segment may be touched at once; None without a limit."""
    room = part.segment.room
    if room is None:
        return None
    fields = part.codec.layout.fields
    pages = sum(PAGE * (2 + field.bytes_per_vector // PAGE) for field in fields)
    width = sum(field.bytes_per_vector for field in fields)
    return Pager(max(1, room // pages), max(1, room // width), _letting_go(part.segment))


def _letting_go(segment: Segment) -> Callable[[], None]:
    """`segment.release`, without keeping the segment alive."""
    known = WeakMethod(segment.release)

    def release() -> None:
        found = known()
        if found is not None:
            found()

    return release
