"""A model by its name, for command lines."""

from pathlib import Path
from typing import Any

from torch import nn

from attar.vision.adapters import adapt
from attar.vision.vit import ViT


def load_vit(model: str | nn.Module) -> ViT:
    """Make a ViT of a model object or a name that people type, in evaluation mode.

    "timm:vit_small_patch14_dinov2", "open_clip:ViT-B-16/openai", "hf:openai/clip-vit-base-patch16"
    (weights come from the hub's cache, or over the network if that is allowed), or the folder of a
    PH-Reg student, whose registers come with it. "timm:NAME/random" and "open_clip:NAME/random"
    have seedable random weights.
    """
    if not isinstance(model, str):
        return adapt(model).eval()
    family, _, name = model.partition(":")
    if family in _MAKERS and name:
        return adapt(_MAKERS[family](name)).eval()
    if Path(model).is_dir():
        from attar.vision.phreg.saved import load_student

        return adapt(load_student(Path(model))).eval()
    raise ValueError(
        f"A model must be timm:NAME, open_clip:NAME/WEIGHTS, hf:NAME or a folder, got {model!r}."
    )


def _timm(name: str) -> Any:
    import timm

    name, _, weights = name.partition("/")
    return timm.create_model(name, pretrained=weights != "random", num_classes=0)


def _open_clip(name: str) -> Any:
    import open_clip

    name, _, weights = name.partition("/")
    pretrained = None if weights in ("", "random") else weights
    return open_clip.create_model(name, pretrained=pretrained)


def _hf(name: str) -> Any:
    import transformers

    return transformers.AutoModel.from_pretrained(name)


_MAKERS = {"timm": _timm, "open_clip": _open_clip, "hf": _hf}
