"""A smaller image has fewer patches."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from attar.vision.reducers.reducer import Reducer, square_side
from attar.vision.views import Views
from attar.vision.vit import ViT


class Downsample(Reducer):
    """Resize the image so that it has `num` patches (VTC-Bench, arXiv 2510.07143: hard to beat).

    num: a square; the image becomes sqrt(num) x sqrt(num) patches, bicubic with antialiasing.
    """

    def __init__(self, num: int) -> None:
        super().__init__()
        self.side = square_side(num)

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Patch tokens [v num d] of the small images."""
        self.num_tokens(vit.grid_of(views.pixels))
        size = (self.side * vit.facts.patch, self.side * vit.facts.patch)
        small = F.interpolate(
            views.pixels.float(), size=size, mode="bicubic", align_corners=False, antialias=True
        )
        tokens = vit(small.to(views.pixels.dtype), select_layer=select_layer)
        return tokens.patches  # type: ignore[no-any-return]

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"num": self.side**2}

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """`num`, which may not exceed the patches."""
        if self.side > min(grid):
            raise ValueError(f"Cannot downsample {grid} patches to {self.side} x {self.side}.")
        return self.side**2
