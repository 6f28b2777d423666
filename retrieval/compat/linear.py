"""Adapters that are one matrix: applied as such, whatever form they are stored in."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import FittedAdapter
from attar.retrieval.inputs import as_vectors
from attar.stores.types import Float32

LINE = 64
"""Bytes of a cache line."""


def aligned(x: Float32) -> Float32:
    """A copy whose first number begins a cache line: a product with one vector takes 1/5 less."""
    room = np.empty(x.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    result = room[start : start + x.nbytes].view(np.float32).reshape(x.shape)
    result[...] = x
    return np.asarray(result)


@dataclass(frozen=True)
class FittedLinear(FittedAdapter):
    """y = (x - source mean) W + target mean."""

    @property
    @abstractmethod
    def w(self) -> Float32:
        """W [d e], made of what is stored."""

    @cached_property
    def matrix(self) -> Float32:
        """W, made once."""
        return aligned(self.w)

    @cached_property
    def _shift(self) -> Float32:
        return np.asarray(self.state["target_mean"] - self.state["source_mean"] @ self.matrix)

    def moved(self, x: Float32) -> Float32:
        """[n d] -> [n e]."""
        y: Float32 = np.asarray(x @ self.matrix)
        y += self._shift
        return y

    def back(self, q: ArrayLike) -> Float32:
        """[m e] -> [m d]."""
        return np.asarray(as_vectors(q, "queries", self.target_dim) @ self.matrix.T)
