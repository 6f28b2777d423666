"""An encoder with a reducer, in the shape that LLaVA's code expects of a vision tower."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from attar.vision.adapters import adapt, rebuild
from attar.vision.checkpoint import put_weights, read_config, read_weights, save_folder
from attar.vision.falcon import ReCompact
from attar.vision.images import ImageProcessor
from attar.vision.reducers import (
    AllTokens,
    AveragePool,
    Downsample,
    PerceiverResampler,
    PixelShuffle,
    RandomTokens,
    Reducer,
    ToMe,
)
from attar.vision.views import Views
from attar.vision.vit import ViT

REDUCERS: dict[str, type[Reducer]] = {
    c.__name__: c
    for c in (
        AllTokens,
        AveragePool,
        Downsample,
        PerceiverResampler,
        PixelShuffle,
        RandomTokens,
        ReCompact,
        ToMe,
    )
}
POLICIES = ("none", "reducer", "all")


class VisionTower(nn.Module):
    """Image -> encoder -> reducer -> [b k w] tokens for the MLLM's projector.

    Drop-in for LLaVA's CLIPVisionTower: hidden_size, num_patches, num_patches_per_side, config,
    dtype, device, dummy_feature, image_processor, select_layer, select_feature, is_loaded,
    load_model. vit: a ViT or any model that `adapt` knows. reducer: None = every patch token.
    select_layer: the hidden state that is read, -1 (through the final norm) by default; LLaVA's
    own default is -2. processor: None = squash to the model's size. trains: "none", "reducer" or
    "all" parameters require gradients.
    """

    select_feature = "patch"
    is_loaded = True

    def __init__(
        self,
        vit: ViT | nn.Module,
        reducer: Reducer | None = None,
        select_layer: int = -1,
        processor: ImageProcessor | None = None,
        trains: str = "reducer",
    ) -> None:
        super().__init__()
        self.vit = adapt(vit)
        self.reducer = reducer or AllTokens()
        self.vit.stop_of(select_layer)
        self.select_layer = select_layer
        self.image_processor = processor or ImageProcessor.of(self.vit)
        self.num_patches = self.reducer.num_tokens(self.grid)
        self.set_trainable(trains)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (h, w) of a processed image."""
        patch = self.vit.facts.patch
        return self.image_processor.height // patch, self.image_processor.width // patch

    @property
    def hidden_size(self) -> int:
        """Width w of the tokens, what the projector must take."""
        return self.reducer.width(self.vit.facts.width)

    @property
    def num_patches_per_side(self) -> int:
        """The side of the square of tokens; refuses counts that are no square."""
        side = math.isqrt(self.num_patches)
        if side * side != self.num_patches:
            raise ValueError(f"{self.num_patches} tokens are no square; use num_patches.")
        return side

    @property
    def config(self) -> SimpleNamespace:
        """The few fields that LLaVA's code reads from a tower's configuration."""
        patch = self.vit.facts.patch
        return SimpleNamespace(
            hidden_size=self.hidden_size,
            image_size=self.image_processor.height,
            patch_size=patch,
            num_hidden_layers=len(self.vit.layers),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the encoder's weights."""
        return next(self.vit.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the encoder's weights."""
        return next(self.vit.parameters()).device

    @property
    def dummy_feature(self) -> Tensor:
        """A token of zeros, [1 w]."""
        return torch.zeros(1, self.hidden_size, device=self.device, dtype=self.dtype)

    def load_model(self, device_map: Any = None) -> None:
        """Nothing: the model is here already. The call is part of LLaVA's protocol."""

    def set_trainable(self, trains: str) -> None:
        """Which parameters require gradients: "none", "reducer" or "all"."""
        if trains not in POLICIES:
            raise ValueError(f"trains must be one of {', '.join(POLICIES)}, got {trains!r}.")
        self.vit.requires_grad_(trains == "all")
        self.reducer.requires_grad_(trains != "none")

    def num_tokens(self, image_size: tuple[int, int], crops: Any = None) -> int:
        """Tokens of an image of (height, width) pixels; `crops` as given to ShapeAdaptiveCrops.

        Without crops every image gives num_patches; with them each view does.
        """
        if crops is None:
            return self.num_patches
        rows, columns = crops.grid(*image_size)
        return int((rows * columns + 1) * self.num_patches)

    def forward(self, images: Tensor | list[Tensor] | Views) -> Tensor | list[Tensor]:
        """[b 3 H W] or Views -> [b k w]; a list of [3 H W] -> a list of [1 k w], as LLaVA does.

        Tokens have the type of the images.
        """
        if isinstance(images, list):
            return [self._tokens(Views.whole(image[None])) for image in images]
        views = images if isinstance(images, Views) else Views.whole(images)
        return self._tokens(views)

    def _tokens(self, views: Views) -> Tensor:
        given = views.pixels.dtype
        tokens = self.reducer(self.vit, views.to(self.device, self.dtype), self.select_layer)
        return tokens.to(given)  # type: ignore[no-any-return]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write configuration and weights."""
        p = self.image_processor
        config = {
            "vit": self.vit.recipe(),
            "reducer": [type(self.reducer).__name__, self.reducer.settings()],
            "select_layer": self.select_layer,
            "processor": [p.height, p.width, p.mean, p.std, p.fit],
        }
        save_folder(Path(folder), "vision-tower", config, self)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype | None = None, trains: str = "reducer"
    ) -> "VisionTower":
        """Read what save_pretrained wrote; dtype None keeps the saved one. Evaluation mode."""
        config = read_config(Path(folder), "vision-tower")
        weights = read_weights(Path(folder))
        name, settings = config["reducer"]
        if name not in REDUCERS:
            raise ValueError(f"Unknown reducer {name!r}; known are {', '.join(sorted(REDUCERS))}.")
        height, width, mean, std, fit = config["processor"]
        tower = cls(
            rebuild(config["vit"]),
            REDUCERS[name].from_settings(settings),
            config["select_layer"],
            ImageProcessor(height, width, tuple(mean), tuple(std), fit),
            trains,
        )
        first = next(t for t in weights.values() if t.is_floating_point())
        tower.to(dtype or first.dtype)
        put_weights(tower, weights, str(folder))
        return tower.eval()
