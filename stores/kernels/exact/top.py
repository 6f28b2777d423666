"""What a scan over one array of codes finds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.stores.types import Float32


@dataclass(frozen=True)
class Top:
    """The best rows of each query: rows int64 [m k'], scores float32 [m k'], cut bool [m].

    cut says that a row ties with the last one kept and yet is missing: a caller with another rule
    for ties asks again for more.
    """

    rows: NDArray[np.int64]
    scores: Float32
    cut: NDArray[np.bool_]
