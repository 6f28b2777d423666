"""Artifacts on purpose: one MLP neuron that fires at fixed places and writes a huge vector."""

import torch

from attar.vision.vit import ViT


@torch.no_grad()
def plant_register_neuron(
    vit: ViT, pixels: torch.Tensor, places: list[int], layer: int, unit: int, size: float
) -> None:
    """Switch on neuron `unit` of `layer` of a timm model, in place.

    Its input weights become the linear discriminant between what the MLP reads at `places` and at
    all other patches of `pixels`, so it fires at these places of any view; its output weights
    become a vector of norm `size`.
    """
    p = vit.facts.num_prefix
    mlp, norm = vit.model.blocks[layer].mlp, vit.layers[layer].norm2
    seen: list[torch.Tensor] = []
    handle = norm.register_forward_hook(lambda _m, _a, out: seen.append(out[:, p:]))
    try:
        vit(pixels)
    finally:
        handle.remove()
    read = seen[0]
    others = [i for i in range(read.shape[1]) if i not in places]
    inside, outside = read[:, places].flatten(0, 1), read[:, others].flatten(0, 1)
    spread = torch.cov(outside.T) + 1e-2 * torch.eye(read.shape[2]) * outside.var(dim=0).mean()
    direction = torch.linalg.solve(spread, inside.mean(0) - outside.mean(0))
    low, high = (outside @ direction).quantile(0.999), (inside @ direction).median()
    if high <= low:
        raise ValueError("The places cannot be told from the others; give more images.")
    # The activation is about 4 at the places and about 0 elsewhere (GELU of -4 and below).
    scale = 8 / (high - low)
    mlp.fc1.weight[unit] = scale * direction
    mlp.fc1.bias[unit] = 4 - scale * high
    generator = torch.Generator().manual_seed(unit)
    vector = torch.randn(read.shape[2], generator=generator)
    mlp.fc2.weight[:, unit] = vector / vector.norm() * size / 4
