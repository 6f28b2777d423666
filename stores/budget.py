"""A store in a given number of bytes: sketches in memory, codes on disk.

The sketches come first, since every search reads all of them; what is left of the budget goes to
the segments in proportion to their rows, for codes: pages of a range of rows that are let go before
the next range, or copies of rows that lie far apart.
"""

from collections.abc import Sequence

from attar.stores.cascade.index import sketch_bytes
from attar.stores.snapshot import Part

LEAST = 1 << 20
"""Bytes of pages that a segment needs at least."""


def check_budget(budget: int, parts: Sequence[Part]) -> None:
    """Say how much the parts need where the budget is less."""
    need, rows = _need(parts), sum(part.row.rows for part in parts)
    if budget < need:
        raise ValueError(
            f"budget= holds at least the sketches of all vectors and some pages of codes, "
            f"{need:,} bytes for {rows:,} vectors in {len(parts)} segments, got {budget:,}. Raise "
            "it, or leave it out: codes are memory-mapped."
        )


def share(budget: int, parts: Sequence[Part]) -> None:
    """Limit the maps of the parts, none below `LEAST`: a store may outgrow its budget."""
    rows = max(sum(part.row.rows for part in parts), 1)
    left = max(budget - _need(parts), 0)
    for part in parts:
        part.segment.limit(LEAST + left * part.row.rows // rows)


def _need(parts: Sequence[Part]) -> int:
    sketches = sum(part.row.rows * sketch_bytes(part.codec.layout.dim + 1) for part in parts)
    return sketches + LEAST * len(parts)
