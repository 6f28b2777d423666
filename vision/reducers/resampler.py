"""Learned queries behind the encoder."""

from typing import Any

import torch
from torch import Tensor, nn

from attar.vision.reducers.reducer import Reducer
from attar.vision.views import Views
from attar.vision.vit import ViT


class PerceiverResampler(Reducer):
    """Learned queries attend to the finished patch tokens (Flamingo, arXiv 2204.14198, sec. 3.1).

    Each of `depth` layers is q = q + attention(q, [patches, q]); q = q + mlp(q), both pre-norm.
    d: width of the encoder. num: queries. seed: of the initial weights.
    """

    def __init__(self, d: int, num: int, depth: int = 1, heads: int = 6, seed: int = 0) -> None:
        super().__init__()
        if num < 1 or depth < 1 or d % heads:
            raise ValueError(
                f"num and depth must be positive and heads must divide d, got num={num}, "
                f"depth={depth}, d={d}, heads={heads}."
            )
        self.heads = heads
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.queries = nn.Parameter(torch.randn(num, d) * 0.02)
            self.layers = nn.ModuleList(_ResamplerLayer(d, heads) for _ in range(depth))
            self.norm = nn.LayerNorm(d)

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Tokens [v num d]."""
        return self.resample(vit(views.pixels, select_layer=select_layer).patches)

    def resample(self, patches: Tensor) -> Tensor:
        """Patch tokens [b n d] -> [b num d]."""
        q = self.queries.expand(patches.shape[0], -1, -1)
        for layer in self.layers:
            q = layer(q, patches)
        return self.norm(q)  # type: ignore[no-any-return]

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "d": self.queries.shape[1],
            "num": self.queries.shape[0],
            "depth": len(self.layers),
            "heads": self.heads,
        }

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """The queries, for any grid."""
        return self.queries.shape[0]


class _ResamplerLayer(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.norm_q, self.norm_x, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, q: Tensor, x: Tensor) -> Tensor:
        normed = self.norm_q(q)
        seen = torch.cat([self.norm_x(x), normed], dim=1)
        q = q + self.attention(normed, seen, seen, need_weights=False)[0]
        return q + self.mlp(self.norm_mlp(q))  # type: ignore[no-any-return]
