"""The baseline that pruning methods have to beat."""

from typing import Any

import torch
from torch import Tensor

from attar.vision.reducers.reducer import Reducer
from attar.vision.views import Views
from attar.vision.vit import ViT


def choose_patches(views: int, patches: int, keep: int, seed: int) -> Tensor:
    """Per view `keep` of `patches` positions, without repetition, ascending: [v keep] int64."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(views, patches, generator=generator)
    return scores.topk(keep, dim=1).indices.sort(dim=1).values


class RandomTokens(Reducer):
    """`keep` patch tokens at random places (UniPruneBench, arXiv 2511.02650: a strong baseline).

    seed: of the places; the same seed gives the same places at every call.
    """

    def __init__(self, keep: int, seed: int = 0) -> None:
        super().__init__()
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.keep, self.seed = keep, seed

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Patch tokens [v keep d] at the chosen places."""
        tokens = vit(views.pixels, select_layer=select_layer)
        keep = self.num_tokens(tokens.grid)
        # One row of places for all views, so that a view does not depend on its neighbours.
        places = choose_patches(1, tokens.patches.shape[1], keep, self.seed)[0]
        return tokens.patches[:, places.to(tokens.patches.device)]  # type: ignore[no-any-return]

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"keep": self.keep, "seed": self.seed}

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """`keep`, if there are so many."""
        if self.keep > grid[0] * grid[1]:
            raise ValueError(f"Cannot keep {self.keep} of {grid[0] * grid[1]} patches; keep fewer.")
        return self.keep
