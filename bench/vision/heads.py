"""Small heads that read tokens, the same for every competitor."""

import math

import torch
from torch import Tensor, nn

from bench.vision.pictures import CLASSES


def sine_places(grid: tuple[int, int], d: int) -> Tensor:
    """Sine and cosine of both coordinates, [h*w d]; d divisible by 4."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rates = torch.exp(-math.log(1000) * torch.arange(d // 4) / (d // 4))
    angles = torch.cat([rows.reshape(-1, 1) * rates, columns.reshape(-1, 1) * rates], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class CrossDecoder(nn.Module):
    """One query per patch place attends once to the tokens; then classes and teacher features.

    Tokens [b k w] -> logits [b n 11] and features [b n out].
    """

    def __init__(self, w: int, out: int, grid: tuple[int, int], d: int = 192) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(w), nn.Linear(w, d))
        self.places = nn.Parameter(sine_places(grid, d), requires_grad=False)
        self.query = nn.Linear(d, d)
        self.attention = nn.MultiheadAttention(d, 4, batch_first=True)
        self.norm = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.classes, self.features = nn.Linear(d, CLASSES), nn.Linear(d, out)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.read(tokens)
        q = self.query(self.places).expand(x.shape[0], -1, -1)
        y = q + self.attention(q, x, x, need_weights=False)[0]
        y = y + self.mlp(self.norm(y))
        return self.classes(y), self.features(y)
