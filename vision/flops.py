"""Exact operation counts, by running the model once with a counter."""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of all matrix products and convolutions that `run` does.

    A multiply and an add count as two. Attention runs as plain matrix products, so that the
    counter sees it whatever the backend of the machine.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
