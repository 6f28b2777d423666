"""Read-only memory maps that keep no file descriptor.

Python's `mmap` (and so `numpy.memmap`) duplicates the descriptor and keeps it as long as the map:
a store of a thousand segments would reach the usual limit of 1,024. The system does not need it.
"""

import ctypes
import os
import weakref
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_READ, _SHARED = 1, 1
_FAILED = ctypes.c_void_p(-1).value


@cache
def system() -> ctypes.CDLL:
    """The C library, once: each CDLL makes types of its own, which live until a collection."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        *[ctypes.c_int] * 3,
        ctypes.c_longlong,
    ]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library


class _Mapped:
    """What arrays over a map hold on to. A ctypes array would leave a type behind per size."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (address, True),  # read-only
            "version": 3,
        }
        weakref.finalize(self, system().munmap, address, nbytes).atexit = False


def map_file(path: Path, nbytes: int) -> NDArray[np.uint8]:
    """The first `nbytes` of a file as an array that cannot be written; views keep the map alive.

    Raises OSError when the system refuses. A file that is cut afterwards kills who reads its end,
    as with any map.
    """
    if not nbytes:
        return np.zeros(0, np.uint8)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        address = system().mmap(None, nbytes, _READ, _SHARED, fd, 0)
    finally:
        os.close(fd)
    if address is None or address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"Mapping {nbytes} bytes: {os.strerror(number)}", str(path))
    return np.asarray(_Mapped(address, nbytes))
