"""open_clip's own VisionTransformer (towers built from timm go through the timm adapter)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attar.vision.attention import AttentionWeights
from attar.vision.positions import resize_positions
from attar.vision.tokens import Tokens
from attar.vision.vit import Facts, Layer, ViT

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class OpenClipViT(ViT):
    """The visual tower of an open_clip model."""

    family: ClassVar[str] = "open_clip"
    accepts: ClassVar[str] = "open_clip.transformer.VisionTransformer"

    def __init__(self, model: Any) -> None:
        for block in model.transformer.resblocks:
            if type(block).__name__ != "ResidualAttentionBlock":
                raise ValueError(
                    "An open_clip tower must consist of plain ResidualAttentionBlocks, got "
                    f"{type(block).__name__}; choose a standard ViT-* model."
                )
        if not isinstance(model.patch_dropout, nn.Identity):
            raise ValueError("Dropping patches changes the grid; build with patch_dropout=0.")
        super().__init__(model)

    @property
    def facts(self) -> Facts:
        """Sizes from the tower, normalisation from its preprocessing (CLIP's by default)."""
        m: Any = self.model
        config = getattr(m, "preprocess_cfg", None) or {}
        return Facts(
            width=m.conv1.out_channels,
            heads=m.transformer.resblocks[0].attn.num_heads,
            patch=m.patch_size[0],
            grid=tuple(m.grid_size),
            num_prefix=1,
            mean=tuple(config.get("mean", CLIP_MEAN)),
            std=tuple(config.get("std", CLIP_STD)),
        )

    @property
    def layers(self) -> Sequence[Layer]:
        """The residual blocks of the tower."""
        return [_layer(block) for block in self.model.transformer.resblocks]

    def embed(self, pixels: Tensor) -> Tokens:
        """Patch convolution, class token, positions resampled to the grid of the pixels."""
        m: Any = self.model
        grid = self.grid_of(pixels)
        x = m.conv1(pixels).flatten(2).transpose(1, 2)
        positions = m.positional_embedding[None].to(x.dtype)
        prefix = m.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1) + positions[:, :1]
        x = x + resize_positions(positions[:, 1:], self.facts.grid, grid)
        return Tokens(x, prefix, grid=grid)

    def enter(self, x: Tensor) -> Tensor:
        """`ln_pre`."""
        out: Tensor = self.model.ln_pre(x)
        return out

    def leave(self, x: Tensor) -> Tensor:
        """`ln_post`, where it works on tokens (not behind an attention pooler)."""
        m: Any = self.model
        if m.attn_pool is not None or m.final_ln_after_pool:
            return x
        out: Tensor = m.ln_post(x)
        return out

    def pool(self, x: Tensor) -> Tensor:
        """The tower's pooled and projected embedding."""
        m: Any = self.model
        pooled: Tensor = m._pool(x)[0]
        return pooled if m.proj is None else pooled @ m.proj

    def recipe(self) -> dict[str, Any]:
        """The constructor's arguments, read back from the tower."""
        m: Any = self.model
        block = m.transformer.resblocks[0]
        scale = getattr(block.ls_1, "gamma", None)
        if m.attn_pool is not None:
            raise ValueError("A tower with an attention pooler cannot be saved by its arguments.")
        return {
            "family": self.family,
            "image_size": list(m.image_size),
            "patch_size": self.facts.patch,
            "width": self.facts.width,
            "layers": len(m.transformer.resblocks),
            "heads": self.facts.heads,
            "mlp_ratio": block.mlp.c_fc.out_features / self.facts.width,
            "output_dim": m.output_dim,
            "ls_init_value": None if scale is None else 1.0,
            "no_ln_pre": isinstance(m.ln_pre, nn.Identity),
            "pool_type": m.pool_type,
            "final_ln_after_pool": m.final_ln_after_pool,
            "quick_gelu": type(block.mlp.gelu).__name__ == "QuickGELU",
        }

    @classmethod
    def rebuild(cls, recipe: dict[str, Any]) -> "OpenClipViT":
        """An equal tower with random weights."""
        from open_clip.transformer import QuickGELU, VisionTransformer

        arguments = {k: v for k, v in recipe.items() if k not in ("family", "quick_gelu")}
        act = QuickGELU if recipe["quick_gelu"] else nn.GELU
        return cls(VisionTransformer(**arguments, act_layer=act))

    def unlocked(self) -> dict[str, list[nn.Parameter]]:
        """Patch convolution, positions, last block."""
        m: Any = self.model
        return {
            "patch": list(m.conv1.parameters()),
            "position": [m.positional_embedding],
            "last": list(m.transformer.resblocks[-1].parameters()),
        }


def _layer(block: Any) -> Layer:
    def weights() -> AttentionWeights:
        a = block.attn
        return AttentionWeights(
            a.in_proj_weight, a.in_proj_bias, a.out_proj.weight, a.out_proj.bias, a.num_heads
        )

    def attend(y: Tensor) -> Tensor:
        if block.attn.batch_first:
            return block.attention(y)  # type: ignore[no-any-return]
        return torch.transpose(block.attention(y.transpose(0, 1)), 0, 1)

    return Layer(
        norm1=block.ln_1,
        attend=attend,
        scale1=block.ls_1,
        norm2=block.ln_2,
        mlp=block.mlp,
        scale2=block.ls_2,
        neurons=block.mlp.gelu,
        weights=weights,
    )
