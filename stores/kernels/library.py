"""The native library: found beside this package, loaded by ctypes, or absent.

Absent, of another ABI, or on a CPU without an instruction set: the caller gets numpy's results,
which are the same bits. ctypes releases the GIL for the length of every call.
"""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABI = 13
"""Grows by one with every change of a signature or a struct; `levels.cpp` has the same number."""

LEVELS = ("portable", "avx2", "avx512vnni", "amx", "neon")
"""Names of the instruction set levels; the index is the level's number in C++. Arm has its own."""

IMPLS = ("auto", "native", "numpy", "triton", *LEVELS)
"""What `impl=` may say: a level forces native code on that level."""


@cache
def library() -> ctypes.CDLL | None:
    """The loaded library, or None when it was not built or speaks another ABI."""
    path = Path(__file__).parent.parent / "_native.so"
    try:
        found = ctypes.CDLL(str(path))
        found.attar_abi.restype = ctypes.c_int32
        return found if found.attar_abi() == ABI else None
    except (OSError, AttributeError):
        return None


def loaded() -> ctypes.CDLL:
    """The library where a level was chosen already, so that it is there."""
    here = library()
    if here is None:
        raise RuntimeError("The native library is missing; use impl='numpy'.")
    return here


def best_level() -> str | None:
    """Name of the best level that library and CPU have; None without the library."""
    here = levels()
    return here[-1] if here else None


@cache
def levels() -> tuple[str, ...]:
    """All levels that run here, the best last; empty without the library."""
    here = library()
    if here is None:
        return ()
    bits = here.attar_levels()
    return tuple(name for number, name in enumerate(LEVELS) if bits >> number & 1)


def native_level(impl: str) -> int | None:
    """Number of the level that `impl` asks for, or None where numpy has to do it."""
    if impl not in IMPLS:
        raise ValueError(f"impl is one of {', '.join(IMPLS)}, got {impl!r}.")
    here = levels()
    if impl == "numpy" or (impl == "auto" and not here):
        return None
    if impl in LEVELS and impl in here:
        return LEVELS.index(impl)
    if impl in ("auto", "native") and here:
        return LEVELS.index(here[-1])
    raise ValueError(
        f"impl={impl!r} does not run here; available: auto, numpy{''.join(', ' + x for x in here)}."
        " The native levels need a C++ compiler at installation and a CPU that has them."
    )


def pointer(array: NDArray[Any] | None) -> ctypes.c_void_p:
    """Address of a contiguous array, null for None. The caller keeps the array alive."""
    if array is None:
        return ctypes.c_void_p(None)
    if not array.flags.c_contiguous:
        raise ValueError("Kernels take C-contiguous arrays; pass np.ascontiguousarray(x).")
    return ctypes.c_void_p(array.ctypes.data)


def thread_count(threads: int | None) -> int:
    """`threads` itself, or the CPUs that this process may use."""
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads is at least 1, got {threads}.")
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bitmap(rows: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Boolean [n] as bits, row r is bit r % 8 of byte r // 8."""
    return np.packbits(rows, bitorder="little")
