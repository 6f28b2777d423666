"""Fewer image tokens in a LLaVA of transformers 5."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from attar.vision.mllm.tower import VisionTower


class LlavaSlot(nn.Module):
    """Stands in `vision_tower` of a LlavaModel: hidden state -1 is the reduced tokens.

    Use it with vision_feature_layer=-1 and vision_feature_select_strategy="full"; the strategy
    "default" would cut off the first token as if it were a class token, and other layers do not
    exist here.
    """

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixel_values: Tensor, return_dict: bool = True, **_: Any) -> Any:
        """[b 3 H W] -> an output whose last_hidden_state and only hidden state are [b k w]."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        tokens = self.tower(pixel_values)
        out = BaseModelOutputWithPooling(last_hidden_state=tokens, hidden_states=(tokens,))
        return out if return_dict else out.to_tuple()


def compressed_processor(processor: Any, tower: VisionTower) -> Any:
    """A copy of a LlavaProcessor that counts and prepares images as the tower does.

    LlavaProcessor writes (H // patch_size) * (W // patch_size) + num_additional_image_tokens
    placeholders. With patch_size equal to the image's side the product is 1, so that one plus
    num_patches - 1 is what the tower gives; the fields are saved with the processor. Sizes and
    normalisation become the tower's. The given processor is not changed.
    """
    ours = tower.image_processor
    if ours.height != ours.width:
        raise ValueError(
            f"LlavaProcessor counts in square images, got {ours.height} x {ours.width}; build the "
            "tower with a square processor."
        )
    made = copy.deepcopy(processor)
    made.patch_size = ours.height
    made.num_additional_image_tokens = tower.num_patches - 1
    made.vision_feature_select_strategy = "full"
    images = made.image_processor
    images.do_resize = images.do_rescale = images.do_normalize = True
    images.do_center_crop = False
    images.size = {"height": ours.height, "width": ours.width}
    images.crop_size = {"height": ours.height, "width": ours.width}
    images.image_mean, images.image_std = ours.image_mean, ours.image_std
    return made


@contextmanager
def fewer_image_tokens(llava: Any, tower: VisionTower) -> Iterator[Any]:
    """Run a LlavaForConditionalGeneration or LlavaModel with this tower; restores it at the end.

    The projector must take the tower's width; its weights stay the model's own, so train it (and
    the reducer) before expecting sense. Pair it with compressed_processor.
    """
    inner = getattr(llava, "model", llava)
    wanted = inner.multi_modal_projector.linear_1.in_features
    if tower.hidden_size != wanted:
        raise ValueError(
            f"The projector takes width {wanted}, the tower gives {tower.hidden_size}; use an "
            "encoder of that width or replace multi_modal_projector."
        )
    configs = {id(c): c for c in (llava.config, inner.config)}.values()
    fields = ("vision_feature_layer", "vision_feature_select_strategy")
    before = [(c, f, getattr(c, f)) for c in configs for f in fields]
    old = inner.vision_tower
    try:
        inner.vision_tower = LlavaSlot(tower)
        for config in configs:
            config.vision_feature_layer = -1
            config.vision_feature_select_strategy = "full"
        yield llava
    finally:
        inner.vision_tower = old
        for config, name, value in before:
            setattr(config, name, value)
