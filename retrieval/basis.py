"""A matrix that a codec keeps beside its codes, in ten bits an entry."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.reducer import State
from attar.stores.types import Float32

LARGEST = 511
SHIFTS = np.array([0, 2, 4, 6], np.uint8)


@dataclass(frozen=True, eq=False)
class Basis:
    """values float32 [d e] = cells * step, each column with a step of its own.

    Cells are -511 … 511 and the largest entry of a column is 511 steps. Of unit columns
    an entry errs by .0018 of its root mean square, a coordinate of a vector v by .0018 |v| /
    sqrt(d).

    kept: `.high` int8 [d e] and `.low` uint8 [ceil(d e / 4)] with cell = 4 high + low, the two bits
    of entry i, row after row, at 2 (i mod 4) of byte i // 4; `.step` float32 [e]. Codecs that were
    made before have one float16 matrix [d e], whose name is empty, and keep it.
    """

    values: Float32
    kept: State

    @classmethod
    def rounded(cls, matrix: NDArray[np.floating]) -> Self:
        """The nearest cells of a finite matrix [d e]."""
        largest = np.abs(matrix).max(axis=0, initial=0)
        step = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
        cells = np.clip(np.rint(matrix / step), -LARGEST, LARGEST).astype(np.int16, order="C")
        low = np.zeros((-(-cells.size // 4), 4), np.uint8)
        low.ravel()[: cells.size] = (cells & 3).ravel()
        packed = np.bitwise_or.reduce(low << SHIFTS, axis=1)
        kept = {".high": (cells >> 2).astype(np.int8), ".low": packed, ".step": step}
        return cls(cells * step, kept)

    def state(self, name: str) -> State:
        """What `restore` reads: `<name>.high` and so on."""
        return {name + part: array for part, array in self.kept.items()}

    @classmethod
    def restore(cls, name: str, state: State) -> Self:
        """The same again, in either form."""
        kept = {key.removeprefix(name): a for key, a in state.items() if key.startswith(name)}
        if "" in kept:
            half = kept[""].astype(np.float16, copy=False)
            return cls(half.astype(np.float32), {"": half})
        high = kept[".high"].astype(np.int16)
        low = (
            ((kept[".low"].astype(np.uint8)[:, None] >> SHIFTS) & 3)
            .ravel()[: high.size]
            .astype(np.int16)
        )
        cells = (high << 2) | low.reshape(high.shape)
        return cls(np.asarray(cells * kept[".step"].astype(np.float32), np.float32), kept)
