"""Token merging inside the encoder, without training."""

from typing import Any

import torch
from torch import Tensor

from attar.vision.attention import queries_keys_values, self_attention
from attar.vision.reducers.reducer import Reducer
from attar.vision.views import Views
from attar.vision.vit import Layer, ViT


def match_tokens(metric: Tensor, merges: int, protected: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bipartite soft matching (arXiv 2210.09461, section 3): who merges into whom.

    metric: [b t c]. The first `protected` tokens never merge. Even tokens of the rest may merge
    into odd ones. Returns indices into the sequence: source [b r], destination [b r], and the
    kept ones [b t-r], ascending; r = min(merges, number of even tokens that have a partner).
    """
    t = metric.shape[1]
    unit = metric[:, protected:] / metric[:, protected:].norm(dim=-1, keepdim=True).clamp_min(1e-12)
    even, odd = unit[:, ::2], unit[:, 1::2]
    r = min(merges, odd.shape[1])
    best, partner = (even @ odd.transpose(1, 2)).max(dim=-1)
    chosen = best.topk(r, dim=-1).indices
    source = chosen * 2 + protected
    destination = partner.gather(1, chosen) * 2 + 1 + protected
    alive = torch.ones(metric.shape[0], t, dtype=torch.bool, device=metric.device)
    alive.scatter_(1, source, False)
    kept = alive.nonzero()[:, 1].reshape(metric.shape[0], t - r)
    return source, destination, kept


def merge_tokens(
    x: Tensor, size: Tensor, source: Tensor, destination: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean of merged tokens, weighted by how many patches each stands for.

    x: [b t d]. size: [b t 1]. Returns both with t - r tokens. Inputs are not changed.
    """
    wide = source[..., None].expand(-1, -1, x.shape[-1])
    to = destination[..., None].expand(-1, -1, x.shape[-1])
    mass = (x * size).scatter_add(1, to, (x * size).gather(1, wide))
    total = size.scatter_add(1, destination[..., None], size.gather(1, source[..., None]))
    mean = mass / total
    wide = kept[..., None].expand(-1, -1, x.shape[-1])
    return mean.gather(1, wide), total.gather(1, kept[..., None])


def merge_schedule(patches: int, keep: int, layers: int) -> list[int]:
    """How many patch tokens each layer merges, so that exactly `keep` are left.

    The same number in every layer where that is possible; a layer can merge at most half of what
    it has, so strong reductions take more in the first layers.
    """
    for rate in range(patches + 1):
        left, plan = patches, []
        for _ in range(layers):
            plan.append(min(rate, left // 2, left - keep))
            left -= plan[-1]
        if left == keep:
            return plan
    raise ValueError(
        f"Cannot merge {patches} patches to {keep} in {layers} layers, each at most halves them; "
        "keep more."
    )


class ToMe(Reducer):
    """Token Merging (arXiv 2210.09461): the most similar keys merge after each attention.

    Attention is proportional (softmax of q k + log size). keep: patch tokens that are left. The
    published method has a fixed rate per layer; ours meets a given count, see merge_schedule.
    """

    def __init__(self, keep: int) -> None:
        super().__init__()
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.keep = keep

    def merge_layer(
        self, layer: Layer, x: Tensor, size: Tensor, merges: int, protected: int
    ) -> tuple[Tensor, Tensor]:
        """One layer with merging between its attention and its MLP."""
        weights = layer.weights()
        y = layer.norm1(x)
        bias = size.log()[:, None, None, :, 0].to(x.dtype)
        x = x + layer.scale1(self_attention(y, weights, bias))
        if merges:
            keys = queries_keys_values(y, weights)[1].mean(dim=1)
            source, destination, kept = match_tokens(keys, merges, protected)
            x, size = merge_tokens(x, size.to(x.dtype), source, destination, kept)
        return x + layer.scale2(layer.mlp(layer.norm2(x))), size

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Merged tokens [v keep d], in the order of their destination."""
        tokens = vit.embed(views.pixels)
        stop = vit.stop_of(select_layer)
        plan = merge_schedule(
            tokens.patches.shape[1], self.num_tokens(vit.grid_of(views.pixels)), stop
        )
        x, protected = vit.enter(tokens.join()), tokens.prefix.shape[1]
        size = torch.ones_like(x[..., :1])
        for layer, merges in zip(list(vit.layers)[:stop], plan, strict=True):
            x, size = self.merge_layer(layer, x, size, merges, protected)
        return (vit.leave(x) if stop == len(vit.layers) else x)[:, protected:]

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"keep": self.keep}

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """`keep`, if there are so many."""
        if self.keep > grid[0] * grid[1]:
            raise ValueError(f"Cannot keep {self.keep} of {grid[0] * grid[1]} patches; keep fewer.")
        return self.keep
