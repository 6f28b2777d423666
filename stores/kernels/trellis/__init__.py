"""Encoding into the waterfill layout: the cheapest path through its trellis."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import native_level, thread_count
from attar.stores.kernels.trellis import native, reference
from attar.stores.kernels.trellis.uniform import gaussian_rates as gaussian_rates
from attar.stores.kernels.trellis.uniform import quantise_uniform as quantise_uniform
from attar.stores.layouts.waterfill import Waterfill
from attar.stores.types import Float32


def quantise(
    u: Float32,
    layout: Waterfill,
    weight: Float32,
    *,
    impl: str = "auto",
    threads: int | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cells and trellis bits of rows u; see `reference.quantise`. Every `impl` gives the same."""
    level = native_level(impl)
    if level is None:
        return reference.quantise(u, layout, weight)
    return native.quantise(u, layout, weight, level, thread_count(threads))
