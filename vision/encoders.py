"""Images -> vectors for a store. `encode_images` is all that a store asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from attar.vision.checkpoint import fingerprint
from attar.vision.falcon.crops import ShapeAdaptiveCrops
from attar.vision.images import ImageProcessor, Picture
from attar.vision.mllm.tower import VisionTower
from attar.vision.vit import ViT


def _float32(batches: list[Tensor], empty: tuple[int, ...]) -> np.ndarray:
    if not batches:
        return np.zeros(empty, dtype=np.float32)
    return torch.cat(batches).float().cpu().numpy()


@dataclass(frozen=True)
class PooledImageEncoder:
    """One vector per image: the model's own pooling, or the mean of its patches.

    vit: the model. pool: "model" or "mean". batch: images at a time. Vectors are not normalised.
    """

    vit: ViT
    pool: str = "model"
    processor: ImageProcessor | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        """Refuse unknown poolings."""
        if self.pool not in ("model", "mean"):
            raise ValueError(f'pool must be "model" or "mean", got {self.pool!r}.')

    @cached_property
    def fingerprint(self) -> str:
        """Of weights, pooling and image preparation."""
        return f"{fingerprint(self.vit)}-{self.pool}-{self._prepare.height}x{self._prepare.width}"

    @cached_property
    def _prepare(self) -> ImageProcessor:
        return self.processor or ImageProcessor.of(self.vit)

    @torch.no_grad()
    def encode_images(self, images: Sequence[Picture]) -> np.ndarray:
        """Images of any sizes -> float32 [n d]."""
        device = next(self.vit.parameters()).device
        made = []
        for start in range(0, len(images), self.batch):
            pixels = self._prepare(list(images[start : start + self.batch])).to(device)
            if self.pool == "mean":
                made.append(self.vit(pixels).patches.mean(dim=1))
            else:
                made.append(
                    self.vit.pool(self.vit.run(self.vit.enter(self.vit.embed(pixels).join())))
                )
        return _float32(made, (0, self.vit.facts.width))


@dataclass(frozen=True)
class RegisterImageEncoder:
    """m vectors per image: the tokens of a tower, for MaxSim.

    tower: its reducer decides how many. crops: None = the whole image; else the tokens of all
    views of an image, padded by repeating its whole-image view, because a store wants one m.
    """

    tower: VisionTower
    crops: ShapeAdaptiveCrops | None = None
    batch: int = 16

    @cached_property
    def fingerprint(self) -> str:
        """Of weights, reducer and image preparation."""
        cuts = 0 if self.crops is None else self.crops.max_crops
        return f"{fingerprint(self.tower)}-{self.tower.num_patches}-{cuts}"

    @property
    def vectors_per_image(self) -> int:
        """M."""
        views = 1 if self.crops is None else self.crops.max_crops + 1
        return views * self.tower.num_patches

    @torch.no_grad()
    def encode_images(self, images: Sequence[Picture]) -> np.ndarray:
        """Images of any sizes -> float32 [n m d]."""
        made = []
        for start in range(0, len(images), self.batch):
            made.append(self._encode(list(images[start : start + self.batch])))
        return _float32(made, (0, self.vectors_per_image, self.tower.hidden_size))

    def _encode(self, images: list[Picture]) -> Tensor:
        if self.crops is None:
            return self.tower(self.tower.image_processor(images))  # type: ignore[no-any-return]
        views = self.crops(images)
        tokens = self.tower(views)
        rows = []
        for own in torch.split(tokens, views.counts):
            spare = self.crops.max_crops + 1 - own.shape[0]
            rows.append(torch.cat([own, *[own[:1]] * spare]).flatten(0, 1))
        return torch.stack(rows)


def max_sim(queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Late interaction: sum over query vectors of the best inner product with a document's.

    queries [a q d], documents [b m d] -> [a b]. The plain formula, for tests and small sets.
    """
    best = [np.einsum("qd,bmd->bqm", query, documents).max(axis=2) for query in queries]
    return np.stack([b.sum(axis=1) for b in best]) if best else np.zeros((0, len(documents)))
