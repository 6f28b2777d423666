"""Sub-images of a batch of images, and which image each belongs to."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

GLOBAL = -1
"""Row and column of the view that shows the whole image."""


@dataclass(frozen=True)
class Views:
    """Sub-images in one batch.

    pixels: [v 3 s s]. image: [v] int64, the image each view belongs to, ascending, 0..b-1, none
    left out. row, column: [v] int64 place in the image's grid of crops, GLOBAL for the whole image.
    """

    pixels: Tensor
    image: Tensor
    row: Tensor
    column: Tensor

    def __post_init__(self) -> None:
        """Refuse views whose owners are not sorted or not complete."""
        v = self.pixels.shape[0]
        if not v == len(self.image) == len(self.row) == len(self.column):
            raise ValueError("pixels, image, row and column must have one entry per view.")
        if v and (
            int(self.image[0]) != 0 or bool(((d := self.image.diff()) < 0).any() | (d > 1).any())
        ):
            raise ValueError(
                f"image must ascend from 0 without gaps, got {self.image.tolist()}; sort the views."
            )
        if bool(((self.row < 0) != (self.column < 0)).any()):
            raise ValueError("A view is global in both row and column, or in neither.")

    @classmethod
    def whole(cls, pixels: Tensor) -> "Views":
        """Every image is its own only view."""
        place = torch.full((pixels.shape[0],), GLOBAL, device=pixels.device)
        return cls(pixels, torch.arange(pixels.shape[0], device=pixels.device), place, place)

    @classmethod
    def gather(cls, images: list["Views"]) -> "Views":
        """One batch of several images, each given as its own views."""
        offsets = torch.tensor([0, *(int(v.image[-1]) + 1 for v in images)]).cumsum(0)
        return cls(
            torch.cat([v.pixels for v in images]),
            torch.cat([v.image + int(o) for v, o in zip(images, offsets[:-1], strict=True)]),
            torch.cat([v.row for v in images]),
            torch.cat([v.column for v in images]),
        )

    @property
    def num_images(self) -> int:
        """How many images the views belong to."""
        return int(self.image[-1]) + 1 if len(self.image) else 0

    @cached_property
    def counts(self) -> list[int]:
        """Views per image."""
        return torch.bincount(self.image, minlength=self.num_images).tolist()

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Views":
        """Move everything to a device; only the pixels change their type."""
        return Views(
            self.pixels.to(device=device, dtype=dtype),
            self.image.to(device),
            self.row.to(device),
            self.column.to(device),
        )
