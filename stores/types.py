"""What flows through a store: codes, prepared queries, hits.

Shape letters of the whole project: n documents, m queries, d dimensions of the encoder, e
dimensions after reduction (the columns of the code), k hits a query, w bytes of one field.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Codes:
    """Encoded documents, one array per field of the layout.

    fields: name -> array [n w] whose dtype numpy itself knows (uint8, float16, float32 …); a dtype
    that only ml_dtypes knows is stored as raw uint8 and named by the layout.
    """

    fields: Mapping[str, NDArray[np.generic]]

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> "Codes":
        return Codes({name: array[rows] for name, array in self.fields.items()})

    @property
    def nbytes(self) -> int:
        """All bytes of all documents."""
        return sum(array.nbytes for array in self.fields.values())


@dataclass(frozen=True)
class Field:
    """One array of a layout: `width` items of the numpy dtype `dtype` per document."""

    name: str
    dtype: str
    width: int

    @property
    def bytes_per_vector(self) -> int:
        """Bytes that this field takes per document."""
        return self.width * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Levels:
    """Documents as the score formula sees them: y float32 [n e], factor float32 [n]."""

    y: Float32
    factor: Float32


@dataclass(frozen=True)
class Query:
    """Prepared queries: everything that is per query and per dimension is folded in.

    coords: q' float32 [m e]; const: float32 [m].
    score(q, c) = const(q) + factor(c) * sum_j coords(q)_j * y(c)_j, see `stores.score`.
    """

    coords: Float32
    const: Float32

    def __len__(self) -> int:
        return len(self.coords)


@dataclass(frozen=True)
class Hits:
    """The answer to m queries.

    ids: object array [m k'] of str; scores: float32 [m k']; k' = min(k, live matches). Higher is
    always better. Order: score descending, then id by its UTF-8 bytes.
    """

    ids: NDArray[np.object_]
    scores: Float32

    def __len__(self) -> int:
        return len(self.ids)
