"""Documents into a codec's coordinates: (x - mean) A.

With bfloat16 tiles (AMX) three products of halves stand in for the float32 one, six times as fast
and within 2^-15 of the sum of magnitudes; elsewhere it is numpy's product. Unlike the kernels of
search this one promises no bits: nothing that is compared between machines depends on them.
"""

import ctypes
from dataclasses import dataclass
from functools import cache, cached_property

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import library, loaded, pointer, thread_count
from attar.stores.types import Float32

SIDE, DEPTH = 16, 32
IMPLS = ("auto", "numpy", "tiles")


@cache
def has_tiles() -> bool:
    """Whether library, CPU and operating system have bfloat16 tiles."""
    here = library()
    return here is not None and bool(here.attar_rotation_tiles())


@dataclass(frozen=True, eq=False)
class Rotation:
    """mean float32 [d], matrix float32 [d e]; call it with rows float32 [n d] for [n e]."""

    mean: Float32
    matrix: Float32

    def __call__(self, x: Float32, *, impl: str = "auto", threads: int | None = None) -> Float32:
        """(x - mean) matrix; impl "tiles" is refused where there are none."""
        if impl not in IMPLS or (impl == "tiles" and not has_tiles()):
            raise ValueError(
                f"impl is auto, numpy, or tiles on a CPU with AMX, got {impl!r}; write impl='auto'."
            )
        if impl == "numpy" or not has_tiles():
            return np.asarray(np.matmul(x - self.mean, self.matrix), np.float32)
        return self._tiled(np.ascontiguousarray(x, np.float32), thread_count(threads))

    def _tiled(self, x: Float32, threads: int) -> Float32:
        out = np.empty((len(x), self.matrix.shape[1]), np.float32)
        sizes = (len(x), *self.matrix.shape)
        loaded().attar_rotate(
            ctypes.c_int32(threads),
            *map(ctypes.c_int64, sizes),
            *[pointer(a) for a in (x, np.ascontiguousarray(self.mean), self._tiles, out)],
        )
        return out

    @cached_property
    def _tiles(self) -> NDArray[np.uint16]:
        """High and low halves [e / 16, d / 32, 2, 16, 32]: two rows of the matrix interleaved."""
        dim, width = self.matrix.shape
        padded = np.zeros((-(-dim // DEPTH) * DEPTH, -(-width // SIDE) * SIDE), np.float32)
        padded[:dim, :width] = self.matrix
        high = padded.astype(ml_dtypes.bfloat16)
        low = (padded - high.astype(np.float32)).astype(ml_dtypes.bfloat16)
        halves = np.stack([high.view(np.uint16), low.view(np.uint16)])
        steps, tiles = len(padded) // DEPTH, padded.shape[1] // SIDE
        pairs = halves.reshape(2, steps, DEPTH // 2, 2, tiles, SIDE)
        return np.ascontiguousarray(pairs.transpose(4, 1, 0, 2, 5, 3))
