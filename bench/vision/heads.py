"""Small heads that read tokens, the same for every competitor."""

import math

import torch
from torch import Tensor, nn

from attar.vision.falcon.recompact import tiles
from bench.vision.pictures import CLASSES


def sine_places(cells: tuple[int, int], d: int, side: int = 24) -> Tensor:
    """Sine and cosine of where the cells of a grid lie in a square of `side`, [h*w d]; 4 | d."""
    centres = [(torch.arange(n) + 0.5) * side / n for n in cells]
    rows, columns = torch.meshgrid(*centres, indexing="ij")
    rates = torch.exp(-math.log(1000) * torch.arange(d // 4) / (d // 4))
    angles = torch.cat([rows.reshape(-1, 1) * rates, columns.reshape(-1, 1) * rates], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class CrossDecoder(nn.Module):
    """One query per patch place attends once to the tokens; then classes and teacher features.

    Tokens [b k w] -> logits [b n 11] and features [b n out]. The decoder knows the order of the
    tokens, as a language model does: token i of k starts with the code of the i-th of k tiles, and
    keys start with the weights of queries, so that a place looks at first at its own tile.
    """

    def __init__(self, w: int, k: int, out: int, grid: tuple[int, int], d: int = 192) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(w), nn.Linear(w, d))
        self.order = nn.Parameter(sine_places(tiles(k), d))
        self.places = nn.Parameter(sine_places(grid, d), requires_grad=False)
        self.attention = nn.MultiheadAttention(d, 4, batch_first=True)
        with torch.no_grad():
            queries, keys, _ = self.attention.in_proj_weight.chunk(3)
            keys.copy_(queries.mul_(2))
        self.norm = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.classes, self.features = nn.Linear(d, CLASSES), nn.Linear(d, out)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.read(tokens)
        q = self.places.expand(x.shape[0], -1, -1)
        y = q + self.attention(q, x + self.order, x, need_weights=False)[0]
        y = y + self.mlp(self.norm(y))
        return self.classes(y), self.features(y)
