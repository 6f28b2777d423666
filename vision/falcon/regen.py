"""Any number of registers from one set of weights."""

import math

import torch
from torch import Tensor, nn


class ReGen(nn.Module):
    """Registers synthesised from places, so that their number can change without training.

    FALCON++ (openreview potreRCQF7) derives registers from multi-scale Fourier features. The
    details are not public; ours: register i of m sits at point i of the golden-ratio lattice
    (i / m, i * phi mod 1), which covers the square evenly for every m; its features are sin and
    cos of 2^s pi times both coordinates, s = 0..scales-1; a two-layer MLP maps them to [d].

    d: width. scales: octaves. hidden: width of the MLP. seed: of the weights.
    """

    def __init__(self, d: int, scales: int = 6, hidden: int = 256, seed: int = 0) -> None:
        super().__init__()
        self.scales, self.hidden = scales, hidden
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mlp = nn.Sequential(nn.Linear(4 * scales, hidden), nn.GELU(), nn.Linear(hidden, d))

    def forward(self, m: int) -> Tensor:
        """The m registers [m d]."""
        if m < 1:
            raise ValueError(f"m must be at least 1, got {m}.")
        weight = next(self.mlp.parameters())
        i = torch.arange(m, dtype=torch.float64)
        golden = (math.sqrt(5) - 1) / 2
        places = torch.stack([(i + 0.5) / m, (i + 0.5) * golden % 1], dim=1)
        octaves = math.pi * 2.0 ** torch.arange(self.scales, dtype=torch.float64)
        angles = (places[:, :, None] * octaves).flatten(1)
        features = torch.cat([angles.sin(), angles.cos()], dim=1).to(weight)
        return self.mlp(features)  # type: ignore[no-any-return]
