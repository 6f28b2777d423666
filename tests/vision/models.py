"""Tiny models with random weights, one per family; what the untouched model says beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SIDE = 64


@dataclass(frozen=True)
class Family:
    """make: seeded model. tokens, pooled: from the untouched model, [b p+n d] and [b e]."""

    make: Callable[[], nn.Module]
    tokens: Callable[[Any, Tensor], Tensor]
    pooled: Callable[[Any, Tensor], Tensor]


def _lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Zero-initialised parts would hide mistakes: every parameter gets a random push."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def timm_vit(name: str = "vit_tiny_patch16_224", **options: Any) -> nn.Module:
    import timm

    torch.manual_seed(0)
    options = {"img_size": SIDE, "embed_dim": 48, "depth": 3, "num_heads": 3} | options
    return _lively(timm.create_model(name, num_classes=0, **options))


def open_clip_vit(**options: Any) -> nn.Module:
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    options = {"ls_init_value": 0.3} | options
    return _lively(
        VisionTransformer(SIDE, 16, 48, 3, 3, 4.0, output_dim=24, output_tokens=True, **options)
    )


def _config() -> dict[str, Any]:
    return {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": SIDE,
        "patch_size": 16,
    }


def clip_vit() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    return _lively(CLIPVisionModel(CLIPVisionConfig(**_config())))


def siglip_vit() -> nn.Module:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(0)
    return _lively(SiglipVisionModel(SiglipVisionConfig(**_config())))


def _timm_tokens(m: Any, x: Tensor) -> Tensor:
    return m.forward_features(x)


def _timm_pooled(m: Any, x: Tensor) -> Tensor:
    return m(x)


def student() -> nn.Module:
    from attar.vision.adapters import adapt
    from attar.vision.phreg import PHRegStudent

    return PHRegStudent(adapt(timm_vit()), 3).eval()


def _student_tokens(m: Any, x: Tensor) -> Tensor:
    return m(x).patches


def _student_pooled(m: Any, x: Tensor) -> Tensor:
    tokens = m.vit(x, m.registers, select_layer=-2)
    last = m.vit.run(tokens.join(), start=len(m.vit.layers) - 1)
    return m.vit.model.forward_head(m.vit.leave(last), pre_logits=True)


FAMILIES: dict[str, Family] = {
    "timm": Family(timm_vit, _timm_tokens, _timm_pooled),
    "timm-dinov2": Family(
        lambda: timm_vit("vit_small_patch14_dinov2", img_size=56), _timm_tokens, _timm_pooled
    ),
    "timm-registers": Family(
        lambda: timm_vit("vit_small_patch14_reg4_dinov2", img_size=56), _timm_tokens, _timm_pooled
    ),
    "timm-siglip": Family(
        lambda: timm_vit("vit_base_patch16_siglip_224"), _timm_tokens, _timm_pooled
    ),
    "timm-mean": Family(
        lambda: timm_vit(global_pool="avg", class_token=False), _timm_tokens, _timm_pooled
    ),
    "timm-pre-norm": Family(
        lambda: timm_vit("vit_base_patch16_clip_224"), _timm_tokens, _timm_pooled
    ),
    "open_clip": Family(open_clip_vit, lambda m, x: m(x)[1], lambda m, x: m(x)[0]),
    "open_clip-mean": Family(
        lambda: open_clip_vit(pool_type="avg"), lambda m, x: m(x)[1], lambda m, x: m(x)[0]
    ),
    "clip": Family(
        clip_vit,
        lambda m, x: m.post_layernorm(m(x).last_hidden_state),
        lambda m, x: m(x).pooler_output,
    ),
    "siglip": Family(
        siglip_vit, lambda m, x: m(x).last_hidden_state, lambda m, x: m(x).pooler_output
    ),
    "phreg": Family(student, _student_tokens, _student_pooled),
}


def pixels(vit: Any, batch: int = 2, seed: int = 1) -> Tensor:
    """Random pixels of the model's own size."""
    facts = vit.facts
    size = (facts.grid[0] * facts.patch, facts.grid[1] * facts.patch)
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))
