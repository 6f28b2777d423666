"""timm's VisionTransformer and its relatives (DINOv2, SigLIP, DeiT, AugReg)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attar.vision.attention import AttentionWeights
from attar.vision.positions import resize_positions
from attar.vision.tokens import Tokens
from attar.vision.vit import Facts, Layer, ViT


class TimmViT(ViT):
    """A timm VisionTransformer with plain blocks and absolute positions (or none)."""

    family: ClassVar[str] = "timm"
    accepts: ClassVar[str] = "timm.models.vision_transformer.VisionTransformer"

    def __init__(self, model: Any) -> None:
        for block in model.blocks:
            if type(block).__name__ != "Block" or type(block.attn).__name__ != "Attention":
                raise ValueError(
                    "A timm model must consist of plain Blocks with plain Attention, got "
                    f"{type(block).__name__} with {type(getattr(block, 'attn', None)).__name__}; "
                    "choose a standard vit_* model."
                )
        if not isinstance(model.patch_drop, nn.Identity):
            raise ValueError("Dropping patches changes the grid; build with patch_drop_rate=0.")
        super().__init__(model)

    @property
    def facts(self) -> Facts:
        """Sizes from the model, normalisation from its pretrained configuration."""
        m: Any = self.model
        config = getattr(m, "pretrained_cfg", None) or {}
        return Facts(
            width=m.embed_dim,
            heads=m.blocks[0].attn.num_heads,
            patch=m.patch_embed.patch_size[0],
            grid=tuple(m.patch_embed.grid_size),
            num_prefix=m.num_prefix_tokens,
            mean=tuple(config.get("mean", (0.485, 0.456, 0.406))),
            std=tuple(config.get("std", (0.229, 0.224, 0.225))),
        )

    @property
    def layers(self) -> Sequence[Layer]:
        """The blocks of the model."""
        return [_layer(block) for block in self.model.blocks]

    def embed(self, pixels: Tensor) -> Tokens:
        """Patch embedding, positions resampled to the grid of the pixels, prefix in front."""
        m: Any = self.model
        grid = self.grid_of(pixels)
        x = m.patch_embed.norm(m.patch_embed.proj(pixels).flatten(2).transpose(1, 2))
        own = [t for t in (m.cls_token, m.reg_token) if t is not None]
        prefix = torch.cat([x[:, :0], *(t.to(x.dtype).expand(x.shape[0], -1, -1) for t in own)], 1)
        if m.pos_embed is not None:
            p = 0 if m.no_embed_class else m.num_prefix_tokens
            x = x + resize_positions(m.pos_embed[:, p:], self.facts.grid, grid)
            if p:
                prefix = prefix + m.pos_embed[:, :p]
        return Tokens(m.pos_drop(x), m.pos_drop(prefix), grid=grid)

    def enter(self, x: Tensor) -> Tensor:
        """`norm_pre`, the identity in most models."""
        out: Tensor = self.model.norm_pre(x)
        return out

    def leave(self, x: Tensor) -> Tensor:
        """The final norm (the identity in models that norm after pooling)."""
        out: Tensor = self.model.norm(x)
        return out

    def pool(self, x: Tensor) -> Tensor:
        """The model's own head, without its classifier."""
        out: Tensor = self.model.forward_head(self.leave(x), pre_logits=True)
        return out

    def recipe(self) -> dict[str, Any]:
        """Architecture name and the arguments that people override."""
        m: Any = self.model
        name = (getattr(m, "pretrained_cfg", None) or {}).get("architecture")
        if name is None:
            raise ValueError(
                "A timm model that was not made by timm.create_model has no name to be saved by."
            )
        options = {
            "img_size": [side * self.facts.patch for side in self.facts.grid],
            "num_classes": m.num_classes,
            "embed_dim": m.embed_dim,
            "depth": len(m.blocks),
            "num_heads": self.facts.heads,
            "global_pool": m.global_pool,
            "class_token": m.cls_token is not None,
        }
        return {
            "family": self.family,
            "name": name,
            "options": options,
        }

    @classmethod
    def rebuild(cls, recipe: dict[str, Any]) -> "TimmViT":
        """An equal model with random weights."""
        import timm

        return cls(timm.create_model(recipe["name"], **recipe["options"]))

    def unlocked(self) -> dict[str, list[nn.Parameter]]:
        """Patch convolution, positions, last block."""
        m: Any = self.model
        position = [] if m.pos_embed is None else [m.pos_embed]
        return {
            "patch": list(m.patch_embed.proj.parameters()),
            "position": position,
            "last": list(m.blocks[-1].parameters()),
        }


def _layer(block: Any) -> Layer:
    def weights() -> AttentionWeights:
        a = block.attn
        if not isinstance(a.q_norm, nn.Identity) or not isinstance(a.norm, nn.Identity) or a.gate:
            raise ValueError(
                "Attention with normalised queries, an inner norm or a gate has no plain weights;"
                " use a reducer that does not copy or read attention."
            )
        return AttentionWeights(a.qkv.weight, a.qkv.bias, a.proj.weight, a.proj.bias, a.num_heads)

    return Layer(
        norm1=block.norm1,
        attend=block.attn,
        scale1=lambda y: block.drop_path1(block.ls1(y)),
        norm2=block.norm2,
        mlp=block.mlp,
        scale2=lambda y: block.drop_path2(block.ls2(y)),
        neurons=block.mlp.act,
        weights=weights,
    )
