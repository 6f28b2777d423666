"""Finds the adapter of a foreign model by its class, without importing its library."""

from typing import Any

from torch import nn

from attar.vision.adapters.open_clip import OpenClipViT
from attar.vision.adapters.timm import TimmViT
from attar.vision.adapters.transformers import ClipViT, SiglipViT
from attar.vision.vit import ViT


def adapters() -> tuple[Any, ...]:
    """All adapters; that of PH-Reg students is built on the others."""
    from attar.vision.phreg.registered import RegisteredViT

    return TimmViT, OpenClipViT, ClipViT, SiglipViT, RegisteredViT


def adapt(model: nn.Module) -> ViT:
    """Wrap a timm, open_clip or transformers vision model; a whole CLIP is entered at its tower.

    A PH-Reg student becomes a model whose registers are part of its prefix.
    The model is used as it is: its own layers run, its weights are shared, nothing is patched.
    """
    if isinstance(model, ViT):
        return model
    seen = [model]
    for name in ("visual", "trunk", "vision_model"):
        inner = getattr(seen[-1], name, None)
        if isinstance(inner, nn.Module):
            seen.append(inner)
    for candidate in reversed(seen):
        names = {f"{c.__module__}.{c.__qualname__}" for c in type(candidate).__mro__}
        for adapter in adapters():
            if adapter.accepts in names:
                return adapter(candidate)  # type: ignore[no-any-return]
    known = ", ".join(adapter.accepts for adapter in adapters())
    raise TypeError(f"No adapter for {type(model).__qualname__}; known are {known}.")


def rebuild(recipe: dict[str, Any]) -> ViT:
    """Make the model that `ViT.recipe()` described, with random weights."""
    families = {adapter.family: adapter for adapter in adapters()}
    if recipe.get("family") not in families:
        raise ValueError(
            f"A recipe must name one of the families {sorted(families)}, got "
            f"{recipe.get('family')!r}."
        )
    return families[recipe["family"]].rebuild(recipe)  # type: ignore[no-any-return]
