"""Encoding into the waterfill layout: the cheapest path through its trellis."""

from attar.stores.kernels.trellis.reference import quantise as quantise
