"""The vision models of CLIP and SigLIP in transformers 5, whose parts sit on the model itself."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attar.vision.adapters.open_clip import CLIP_MEAN, CLIP_STD
from attar.vision.attention import AttentionWeights
from attar.vision.positions import resize_positions
from attar.vision.tokens import Tokens
from attar.vision.vit import Facts, Layer, ViT


class TransformersViT(ViT):
    """What the two families share."""

    model_class: ClassVar[str]
    config_class: ClassVar[str]

    @property
    @abstractmethod
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and standard deviation, which the model's configuration does not hold."""

    @property
    def facts(self) -> Facts:
        """Sizes from the configuration."""
        m: Any = self.model
        side = m.config.image_size // m.config.patch_size
        mean, std = self.normalisation
        return Facts(
            width=m.config.hidden_size,
            heads=m.config.num_attention_heads,
            patch=m.config.patch_size,
            grid=(side, side),
            num_prefix=m.embeddings.num_positions - m.embeddings.num_patches,
            mean=mean,
            std=std,
        )

    @property
    def layers(self) -> Sequence[Layer]:
        """The encoder's layers."""
        return [_layer(layer) for layer in self.model.encoder.layers]

    def embed(self, pixels: Tensor) -> Tokens:
        """Patch convolution, class token where there is one, positions resampled to the grid."""
        e: Any = self.model.embeddings
        grid = self.grid_of(pixels)
        x = e.patch_embedding(pixels.to(e.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        positions = e.position_embedding.weight[None]
        p = self.facts.num_prefix
        x = x + resize_positions(positions[:, p:], self.facts.grid, grid, antialias=False)
        prefix = x[:, :0]
        if p:
            prefix = e.class_embedding.expand(x.shape[0], 1, -1) + positions[:, :p]
        return Tokens(x, prefix, grid=grid)

    def leave(self, x: Tensor) -> Tensor:
        """`post_layernorm`, also where the model itself norms only the class token."""
        out: Tensor = self.model.post_layernorm(x)
        return out

    def recipe(self) -> dict[str, Any]:
        """The configuration, without what depends on how the model was loaded."""
        m: Any = self.model
        config = {k: v for k, v in m.config.to_dict().items() if k not in ("dtype", "torch_dtype")}
        return {"family": self.family, "config": config}

    @classmethod
    def rebuild(cls, recipe: dict[str, Any]) -> "TransformersViT":
        """An equal model with random weights."""
        import transformers

        config = getattr(transformers, cls.config_class).from_dict(recipe["config"])
        return cls(getattr(transformers, cls.model_class)(config))

    def unlocked(self) -> dict[str, list[nn.Parameter]]:
        """Patch convolution, positions, last layer."""
        m: Any = self.model
        return {
            "patch": list(m.embeddings.patch_embedding.parameters()),
            "position": [m.embeddings.position_embedding.weight],
            "last": list(m.encoder.layers[-1].parameters()),
        }


class ClipViT(TransformersViT):
    """transformers' CLIPVisionModel."""

    family: ClassVar[str] = "transformers-clip"
    accepts: ClassVar[str] = "transformers.models.clip.modeling_clip.CLIPVisionModel"
    model_class: ClassVar[str] = "CLIPVisionModel"
    config_class: ClassVar[str] = "CLIPVisionConfig"

    @property
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """OpenAI's."""
        return CLIP_MEAN, CLIP_STD

    def enter(self, x: Tensor) -> Tensor:
        """`pre_layrnorm` (the library's spelling)."""
        out: Tensor = self.model.pre_layrnorm(x)
        return out

    def pool(self, x: Tensor) -> Tensor:
        """The normed class token."""
        return self.leave(x[:, 0])


class SiglipViT(TransformersViT):
    """transformers' SiglipVisionModel."""

    family: ClassVar[str] = "transformers-siglip"
    accepts: ClassVar[str] = "transformers.models.siglip.modeling_siglip.SiglipVisionModel"
    model_class: ClassVar[str] = "SiglipVisionModel"
    config_class: ClassVar[str] = "SiglipVisionConfig"

    @property
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """One half: SigLIP sees -1..1. FALCON's code normalises SigLIP as CLIP; we do not."""
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def enter(self, x: Tensor) -> Tensor:
        """Nothing."""
        return x

    def pool(self, x: Tensor) -> Tensor:
        """The attention pooling head."""
        m: Any = self.model
        if not m.use_head:
            raise ValueError("This SigLIP model has no pooling head (vision_use_head is False).")
        return m.head(self.leave(x))  # type: ignore[no-any-return]


def _layer(layer: Any) -> Layer:
    def weights() -> AttentionWeights:
        a = layer.self_attn
        maps = (a.q_proj, a.k_proj, a.v_proj)
        return AttentionWeights(
            torch.cat([m.weight for m in maps]),
            torch.cat([m.bias for m in maps]),
            a.out_proj.weight,
            a.out_proj.bias,
            a.num_heads,
        )

    return Layer(
        norm1=layer.layer_norm1,
        attend=lambda y: layer.self_attn(y, attention_mask=None)[0],
        scale1=_same,
        norm2=layer.layer_norm2,
        mlp=layer.mlp,
        scale2=_same,
        neurons=layer.mlp.activation_fn,
        weights=weights,
    )


def _same(y: Tensor) -> Tensor:
    return y
