"""When small segments become larger ones, so that single adds do not leave thousands of files.

Tier t holds segments of 8^t to 8^(t+1) - 1 rows. When eight at the end of the store are of one tier
(or lower ones), they become one of the next. A row is rewritten at most log8(n) times, a store of
n rows has at most about 7 log8(n) small segments, and what would exceed `LARGEST` bytes stays.
"""

from collections.abc import Sequence

FANOUT = 8
LARGEST = 64 << 20


def tier(rows: int) -> int:
    """floor(log8(rows))."""
    return (max(rows, 1).bit_length() - 1) // 3


def merge_count(sizes: Sequence[int], new: int, bytes_per_row: int) -> int:
    """How many of the last segments to merge with `new` rows; `sizes` are rows in slot order."""
    taken, total = 0, new
    while True:
        level = tier(total)
        run, rows = 0, total
        for size in reversed(sizes[: len(sizes) - taken]):
            if tier(size) > level or (rows + size) * bytes_per_row > LARGEST:
                break
            run, rows = run + 1, rows + size
        if run < FANOUT - 1:
            return taken
        taken, total = taken + run, rows
