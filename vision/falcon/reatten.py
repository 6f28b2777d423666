"""Registers of the sub-images of one image look at each other, in every layer."""

import torch
from torch import Tensor, nn

from attar.vision.attention import AttentionWeights, self_attention
from attar.vision.views import Views
from attar.vision.vit import Change, ViT


def pad_by_image(registers: Tensor, views: Views) -> tuple[Tensor, Tensor]:
    """Registers [v m d] -> one padded row per image [b c*m d] and its mask [b c*m] (True = real).

    c is the largest number of views of an image.
    """
    v, m, d = registers.shape
    slot = _slot(views).to(registers.device)
    image = views.image.to(registers.device)
    c = max(views.counts)
    rows = registers.new_zeros(views.num_images, c, m, d).index_put((image, slot), registers)
    real = torch.zeros(views.num_images, c, dtype=torch.bool, device=registers.device)
    real[image, slot] = True
    return rows.flatten(1, 2), real.repeat_interleave(m, dim=1)


def _slot(views: Views) -> Tensor:
    """[v] the place of each view among those of its image."""
    first = torch.tensor([0, *views.counts[:-1]]).cumsum(0).to(views.image.device)
    return torch.arange(len(views.image), device=views.image.device) - first[views.image]


class InteractAttention(nn.Module):
    """One layer's attention among registers; a separate copy of that layer's own weights."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(d, 3 * d), nn.Linear(d, d), heads

    @torch.no_grad()
    def copy_from(self, weights: AttentionWeights) -> None:
        """Start as the layer's self-attention, as FALCON does."""
        for linear, weight, bias in (
            (self.qkv, weights.qkv, weights.qkv_bias),
            (self.out, weights.out, weights.out_bias),
        ):
            linear.weight.copy_(weight)
            linear.bias.zero_() if bias is None else linear.bias.copy_(bias)

    def forward(self, rows: Tensor, real: Tensor | None) -> Tensor:
        """Attention within each row [b t d]; `real` [b t] masks the padding, None = no padding."""
        weights = AttentionWeights(
            self.qkv.weight, self.qkv.bias, self.out.weight, self.out.bias, self.heads
        )
        return self_attention(rows, weights, None if real is None else real[:, None, None, :])


class ReAtten(nn.Module):
    """Register interactive attention (FALCON, arXiv 2501.16297, section 3.3).

    In every layer, after y = SelfAttn(LN1(x)) and before y is added to x:
        1. r = the last m tokens of y, of all views of one image, in one sequence
        2. r = r + InteractAttn(r), without another norm
    The whole-image view takes part. Views of other images are never in the same sequence. Where a
    model has LayerScale, it comes after step 2, so that a copied attention keeps its magnitude.
    """

    def __init__(self, d: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(InteractAttention(d, heads) for _ in range(depth))

    @classmethod
    def of(cls, vit: ViT) -> "ReAtten":
        """One interaction per layer, initialised with that layer's attention."""
        made = cls(vit.facts.width, vit.facts.heads, len(vit.layers))
        for own, layer in zip(made.layers, vit.layers, strict=True):
            own.copy_from(layer.weights())  # type: ignore[operator]
        return made

    def changes(self, views: Views, m: int) -> list[Change]:
        """Per layer the change of attention's output [v t d] whose last m tokens are registers."""
        return [_Interaction(layer, views, m) for layer in self.layers]


class _Interaction:
    """A callable with its state in sight, so that checkpointing and compilation see it."""

    def __init__(self, layer: nn.Module, views: Views, m: int) -> None:
        self.layer, self.views, self.m = layer, views, m

    def __call__(self, y: Tensor) -> Tensor:
        patches, registers = y[:, : -self.m], y[:, -self.m :]
        rows, real = pad_by_image(registers, self.views)
        whole = len(set(self.views.counts)) == 1
        seen = self.layer(rows, None if whole else real)
        back = seen.unflatten(1, (-1, self.m))
        image = self.views.image.to(y.device)
        mixed = registers + back[image, _slot(self.views).to(y.device)]
        return torch.cat([patches, mixed], dim=1)
