"""The untouched model and the same model through its adapter, without and with zero registers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from attar.vision.adapters import adapt
from attar.vision.images import ImageProcessor
from bench.registry import Result, bench
from bench.vision.pictures import photographs
from bench.vision.weights import WHERE, saliency_dinov2


def _open_clip() -> nn.Module:
    import open_clip

    model = open_clip.create_model("ViT-B-32", pretrained=None).visual
    model.output_tokens = True
    return model.eval()  # type: ignore[no-any-return]


def _clip() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig()).eval()  # type: ignore[no-any-return]


def _siglip() -> nn.Module:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    return SiglipVisionModel(SiglipVisionConfig()).eval()  # type: ignore[no-any-return]


def _patches_of_clip(model: Any, x: Tensor) -> Tensor:
    return model.post_layernorm(model(x).last_hidden_state)[:, 1:]  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Tensor]]] = {
    f"timm vit_small_patch14_dinov2, {WHERE}": (
        lambda: saliency_dinov2(224),
        lambda m, x: m.forward_features(x)[:, 1:],
    ),
    "open_clip ViT-B-32, random weights": (_open_clip, lambda m, x: m(x)[1]),
    "transformers CLIP B/32, random weights": (_clip, _patches_of_clip),
    "transformers SigLIP B/16, random weights": (_siglip, lambda m, x: m(x).last_hidden_state),
}


@bench("vision/identity", gate="tests/vision")
def identity(quick: bool) -> Result:
    """Largest difference of any patch token, on photographs."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = []
    for name, (make, truth) in MODELS.items():
        model = make()
        vit = adapt(model)
        x = ImageProcessor.of(vit)(photographs(1 if quick else 4))
        with torch.no_grad():
            expected = truth(model, x)
            none = torch.zeros(0, vit.facts.width)
            got = [vit(x).patches, vit(x, none).patches]
        worst = max((g - expected).abs().max().item() for g in got)
        rows.append(
            {"model": name, "max |diff|": worst, "largest value": expected.abs().max().item()}
        )
    worst = max(row["max |diff|"] for row in rows)
    bar = {"bar": "<= 1e-5 in float32", "measured": worst, "met": worst <= 1e-5}
    return Result(rows, {"images": 1 if quick else 4, "seed": 0}, {"zero-register identity": bar})
