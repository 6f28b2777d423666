"""Encoding into the waterfill layout: the cheapest path through its trellis."""

from attar.stores.kernels.trellis.reference import quantise as quantise
from attar.stores.kernels.trellis.uniform import gaussian_rates as gaussian_rates
from attar.stores.kernels.trellis.uniform import quantise_uniform as quantise_uniform
