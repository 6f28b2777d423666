"""Dense features of a vision transformer: plain, or with the last layer changed for CLIP."""

from collections.abc import Callable

import torch
from torch import Tensor

from attar.vision.attention import queries_keys_values
from attar.vision.tokens import Tokens
from attar.vision.vit import ViT

Dense = Callable[[ViT, Tensor, Tensor | None], Tokens]
"""(vit, pixels [b 3 H W], registers [m d] or None) -> tokens."""


def plain(vit: ViT, pixels: Tensor, registers: Tensor | None = None) -> Tokens:
    """The model's own patch tokens after the final norm; for DINOv2 and its like."""
    return vit(pixels, registers)  # type: ignore[no-any-return]


def value_path(vit: ViT, pixels: Tensor, registers: Tensor | None = None) -> Tokens:
    """MaskCLIP (arXiv 2112.01071): the last layer gives out(value(x)), nothing else."""
    tokens, x = _before_last(vit, pixels, registers)
    layer = vit.layers[-1]
    w = layer.weights()
    values = queries_keys_values(layer.norm1(x), w)[2].transpose(1, 2).flatten(2)
    return tokens.like(vit.leave(torch.nn.functional.linear(values, w.out, w.out_bias)))


def neighbours(
    vit: ViT, pixels: Tensor, registers: Tensor | None = None, std: float = 5.0
) -> Tokens:
    """NACLIP (arXiv 2404.08181): keys attend to keys, plus a Gaussian of the distance.

    softmax(k k^T / sqrt(d) + exp(-dist^2 / (2 std^2))) in the last layer, dist in patches; no
    residual, no MLP. Prefix and registers get no Gaussian.
    """
    tokens, x = _before_last(vit, pixels, registers)
    layer = vit.layers[-1]
    w = layer.weights()
    _, keys, values = queries_keys_values(layer.norm1(x), w)
    p, n = tokens.prefix.shape[1], tokens.patches.shape[1]
    window = x.new_zeros(x.shape[1], x.shape[1])
    window[p : p + n, p : p + n] = gaussian_window(vit.grid_of(pixels), std).to(window)
    seen = torch.nn.functional.scaled_dot_product_attention(keys, keys, values, window)
    merged = seen.transpose(1, 2).flatten(2)
    return tokens.like(vit.leave(torch.nn.functional.linear(merged, w.out, w.out_bias)))


def gaussian_window(grid: tuple[int, int], std: float) -> Tensor:
    """exp(-distance^2 / (2 std^2)) between all patches of a grid: [n n]."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).double()
    return torch.exp(-torch.cdist(places, places).square() / (2 * std**2))


def _before_last(vit: ViT, pixels: Tensor, registers: Tensor | None) -> tuple[Tokens, Tensor]:
    tokens = vit(pixels, registers, select_layer=-2)
    return tokens, tokens.join()
