"""Encoding into the waterfill layout: the cheapest path through its trellis."""

import numpy as np

from attar.stores.kernels.library import native_level, thread_count
from attar.stores.kernels.trellis import native, reference
from attar.stores.kernels.trellis.reference import Paths as Paths
from attar.stores.kernels.trellis.uniform import gaussian_rates as gaussian_rates
from attar.stores.kernels.trellis.uniform import quantise_uniform as quantise_uniform
from attar.stores.layouts.waterfill import Waterfill
from attar.stores.types import Float32


def quantise(
    u: Float32,
    layout: Waterfill,
    weight: Float32,
    gains: Float32 | None = None,
    *,
    impl: str = "auto",
    threads: int | None = None,
) -> Paths:
    """The nearest paths to rows u; see `reference.quantise`. Every `impl` gives the same."""
    every = np.ones(1, np.float32) if gains is None else np.ascontiguousarray(gains, np.float32)
    level = native_level(impl)
    if level is None:
        return reference.quantise(u, layout, weight, every)
    return native.quantise(u, layout, weight, every, level, thread_count(threads))
