"""The reference: every patch token."""

from typing import Any

from torch import Tensor

from attar.vision.reducers.reducer import Reducer
from attar.vision.views import Views
from attar.vision.vit import ViT


class AllTokens(Reducer):
    """Every patch token; what LLaVA does."""

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Patch tokens [v n d]."""
        return vit(views.pixels, select_layer=select_layer).patches  # type: ignore[no-any-return]

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """All."""
        return grid[0] * grid[1]
