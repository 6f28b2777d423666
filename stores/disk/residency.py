"""Which pages of mapped files stay in memory: advice to the system, where it takes any."""

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.mapping import system

AROUND = 1 << 16
MOST = 1 << 21
"""What one touch of a map brings in of what the system has in memory: 64 KiB around it, and since
Linux 6.18 the whole folio that it lies in, up to 2 MiB."""
_RANDOM, _DONTNEED = 1, 4


def _advise(array: NDArray[Any], advice: int) -> None:
    """Advice for the whole pages inside a contiguous array; nothing where it is not understood."""
    if not sys.platform.startswith("linux") or array.nbytes < mmap.PAGESIZE:
        return
    page = mmap.PAGESIZE
    first = -(-array.ctypes.data // page) * page
    last = (array.ctypes.data + array.nbytes) // page * page
    if last > first:
        system().madvise(first, last - first, advice)


def read_at_random(mapped: NDArray[np.uint8]) -> None:
    """Single pages are wanted: the system need not read ahead."""
    _advise(mapped, _RANDOM)


def release(mapped: NDArray[np.uint8]) -> None:
    """Take the pages of a map out of this process; they are read again when they are touched."""
    _advise(mapped, _DONTNEED)
