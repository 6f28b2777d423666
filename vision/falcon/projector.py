"""From the encoder's width to the language model's."""

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """Linear, GELU, Linear: LLaVA 1.5's mlp2x_gelu. Maps [... w] to [... out]."""

    def __init__(self, width: int, out: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.second = nn.Linear(width, out), nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """[... w] -> [... out]."""
        out: Tensor = self.second(nn.functional.gelu(self.first(x)))
        return out
