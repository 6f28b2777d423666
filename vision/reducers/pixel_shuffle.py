"""Neighbours become channels."""

from typing import Any

from torch import Tensor

from attar.vision.reducers.reducer import Reducer
from attar.vision.views import Views
from attar.vision.vit import ViT


def shuffle_patches(patches: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """[b h*w d] -> [b (h/f)*(w/f) f*f*d]; channels are row offset, column offset, d."""
    h, w = grid
    b, _, d = patches.shape
    x = patches.reshape(b, h // factor, factor, w // factor, factor, d)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, -1, factor * factor * d)


class PixelShuffle(Reducer):
    """Each factor x factor square of patches becomes one token of width factor^2 d (InternVL).

    Nothing is lost here; the projector behind it decides what is kept.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be at least 1, got {factor}.")
        self.factor = factor

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Wide tokens [v n/f^2 f^2*d]."""
        tokens = vit(views.pixels, select_layer=select_layer)
        self.num_tokens(tokens.grid)
        return shuffle_patches(tokens.patches, tokens.grid, self.factor)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"factor": self.factor}

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """One token per factor^2 patches; both sides must be divisible."""
        if grid[0] % self.factor or grid[1] % self.factor:
            raise ValueError(
                f"Both sides of the grid must be divisible by the factor {self.factor}, got {grid};"
                " choose another image size or factor."
            )
        return grid[0] * grid[1] // self.factor**2

    def width(self, d: int) -> int:
        """factor^2 d."""
        return d * self.factor**2
