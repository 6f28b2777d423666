"""Which pages of mapped files stay in memory: advice to the system, where it takes any."""

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.mapping import system

PAGE = mmap.PAGESIZE
_RANDOM, _DONTNEED = 1, 4


def _advise(array: NDArray[Any], advice: int) -> None:
    """Advice for the whole pages inside a contiguous array; nothing where it is not understood."""
    if not sys.platform.startswith("linux") or array.nbytes < PAGE:
        return
    first = -(-array.ctypes.data // PAGE) * PAGE
    last = (array.ctypes.data + array.nbytes) // PAGE * PAGE
    if last > first:
        system().madvise(first, last - first, advice)


def read_at_random(mapped: NDArray[np.uint8]) -> None:
    """Single pages are wanted: the system need not read ahead."""
    _advise(mapped, _RANDOM)


def release(mapped: NDArray[np.uint8]) -> None:
    """Take the pages of a map out of this process; they are read again when they are touched."""
    _advise(mapped, _DONTNEED)
