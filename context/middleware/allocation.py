"""How a number of tokens is divided over texts of different length and age."""

from collections.abc import Sequence


def divide(sizes: Sequence[int], available: int, recent: float) -> list[int]:
    """Give each text, oldest first, its number of tokens: raw recent ones, compressed old ones.

    1. From the newest back, texts stay whole while they fit into `recent` of what is available.
    2. The older ones share the rest under one water level: short ones stay whole, long ones are
    cut to the level.

    sizes: tokens of each text, >= 0, oldest first. recent: in [0, 1].
    Returns one number per text, at most its size; their sum is at most max(0, available).
    """
    room = max(0, available)
    shares = [0] * len(sizes)
    quota = int(recent * room)
    old = len(sizes)
    while old and sizes[old - 1] <= quota:
        old -= 1
        shares[old] = sizes[old]
        quota -= sizes[old]
        room -= sizes[old]
    level = water_level(sizes[:old], room)
    for i in range(old):
        shares[i] = min(sizes[i], level)
    return shares


def water_level(sizes: Sequence[int], room: int) -> int:
    """Return the highest level at which sum(min(size, level)) <= room."""
    left = room
    ordered = sorted(sizes)
    for i, size in enumerate(ordered):
        rest = len(ordered) - i
        if size * rest > left:
            return left // rest
        left -= size
    return ordered[-1] if ordered else 0
