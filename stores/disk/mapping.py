"""Read-only memory maps that keep no file descriptor.

Python's `mmap` (and so `numpy.memmap`) duplicates the descriptor and keeps it as long as the map:
a store of a thousand segments would reach the usual limit of 1,024. The system does not need it.
"""

import ctypes
import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_READ, _SHARED = 1, 1
_FAILED = ctypes.c_void_p(-1).value


def map_file(path: Path, nbytes: int) -> NDArray[np.uint8]:
    """The first `nbytes` of a file as an array that cannot be written; views keep the map alive.

    Raises OSError when the system refuses. A file that is cut afterwards kills who reads its end,
    as with any map.
    """
    if not nbytes:
        return np.zeros(0, np.uint8)
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = ctypes.c_void_p
    system.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        *[ctypes.c_int] * 3,
        ctypes.c_longlong,
    ]
    system.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        address = system.mmap(None, nbytes, _READ, _SHARED, fd, 0)
    finally:
        os.close(fd)
    if address is None or address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"Mapping {nbytes} bytes: {os.strerror(number)}", str(path))
    owner = (ctypes.c_ubyte * nbytes).from_address(address)
    weakref.finalize(owner, system.munmap, address, nbytes).atexit = False
    return np.frombuffer(memoryview(owner).toreadonly(), np.uint8)
