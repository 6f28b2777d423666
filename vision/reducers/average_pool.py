"""Mean over tiles of the grid."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from attar.vision.reducers.reducer import Reducer, square_side
from attar.vision.views import Views
from attar.vision.vit import ViT


def pool_patches(patches: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Adaptive mean of [b h*w d] over side x side tiles: [b side*side d]."""
    square = patches.transpose(1, 2).reshape(patches.shape[0], -1, *grid)
    return F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)


class AveragePool(Reducer):
    """Mean patch token of each of `num` tiles; num is a square."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.side = square_side(num)

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Means [v num d]."""
        tokens = vit(views.pixels, select_layer=select_layer)
        self.num_tokens(tokens.grid)
        return pool_patches(tokens.patches, tokens.grid, self.side)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"num": self.side**2}

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """`num`, which may not exceed the patches."""
        if self.side > min(grid):
            raise ValueError(f"Cannot pool {grid} patches into {self.side} x {self.side} tiles.")
        return self.side**2
