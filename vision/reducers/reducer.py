"""What all ways of having fewer tokens have in common."""

import math
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from attar.vision.views import Views
from attar.vision.vit import ViT


class Reducer(nn.Module, ABC):
    """An encoder and sub-images -> few tokens per sub-image.

    Laws, each with a test of that name, for every reducer:
        count: reducer(vit, views).shape[1] == reducer.num_tokens(grid), grid that of the views
        width: reducer(vit, views).shape[2] == reducer.width(vit.facts.width)
        independent: what a view becomes does not depend on the views of other images
    """

    @abstractmethod
    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Tokens [v k w] of all views."""

    @abstractmethod
    def num_tokens(self, grid: tuple[int, int]) -> int:
        """Tokens k per view with a grid of (h, w) patches; refuses grids that do not fit."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `from_settings` needs to make a twin with other weights; JSON types only."""

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Reducer":
        """The twin. The settings are the constructor's arguments unless a method says otherwise."""
        return cls(**settings)

    def width(self, d: int) -> int:
        """Width w of the tokens for an encoder of width d."""
        return d


def square_side(num_tokens: int) -> int:
    """The side of a square of tokens."""
    side = math.isqrt(max(num_tokens, 0))
    if side < 1 or side * side != num_tokens:
        raise ValueError(f"num_tokens must be a square (1, 4, 9, ...), got {num_tokens}.")
    return side
