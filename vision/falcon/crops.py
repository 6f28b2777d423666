"""Shape-adaptive cropping: the grid of sub-images that suits an image's shape and size."""

from dataclasses import dataclass

import torch
from PIL import Image

from attar.vision.images import ImageProcessor, Picture, open_image
from attar.vision.views import GLOBAL, Views


def anchors(max_crops: int) -> list[tuple[int, int]]:
    """All grids (rows, columns) with rows * columns <= max_crops, ascending."""
    if max_crops < 1:
        raise ValueError(f"max_crops must be at least 1, got {max_crops}.")
    sides = range(1, max_crops + 1)
    return [(r, c) for r in sides for c in sides if r * c <= max_crops]


def choose_grid(height: int, width: int, side: int, max_crops: int) -> tuple[int, int]:
    """The grid (rows, columns) of side x side crops for an image of height x width pixels.

    argmax over the anchors of 100 * shapeIoU + IoU (mPLUG-DocOwl 1.5, arXiv 2403.12895, as used
    by FALCON, arXiv 2501.16297). IoU compares the image with the anchor's rectangle in pixels, both
    at the origin; shapeIoU compares them at equal width, so only their shapes count. Ties go to
    the smaller grid.
    """
    if height < 1 or width < 1:
        raise ValueError(f"An image must have pixels, got {height} x {width}.")

    def score(grid: tuple[int, int]) -> float:
        h, w = grid[0] * side, grid[1] * side
        inside = min(h, height) * min(w, width)
        iou = inside / (h * w + height * width - inside)
        scaled = height / width * w
        return 100 * min(h, scaled) / max(h, scaled) + iou

    return max(anchors(max_crops), key=score)


@dataclass(frozen=True)
class ShapeAdaptiveCrops:
    """Pictures -> views: the whole image first, then its crops row by row.

    processor: makes the square views; its height is the side. max_crops: at most so many besides
    the whole image (9 in FALCON's class default, 16 in its table). A 1 x 1 grid adds its crop too,
    as the published code does.
    """

    processor: ImageProcessor
    max_crops: int = 9

    def __post_init__(self) -> None:
        """Refuse views that are not square."""
        anchors(self.max_crops)
        if self.processor.height != self.processor.width:
            raise ValueError("Crops must be square; make the processor's height equal its width.")

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The grid (rows, columns) for an image of this size."""
        return choose_grid(height, width, self.processor.height, self.max_crops)

    def cut(self, picture: Picture) -> Views:
        """One picture -> its views."""
        image, side = open_image(picture), self.processor.height
        rows, columns = self.grid(image.height, image.width)
        big = image.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
        small = image.resize((side, side), Image.Resampling.BICUBIC)
        places = [(r, c) for r in range(rows) for c in range(columns)]
        crops = [big.crop((c * side, r * side, (c + 1) * side, (r + 1) * side)) for r, c in places]
        return Views(
            torch.stack([self.processor.normalise(view) for view in (small, *crops)]),
            torch.zeros(len(crops) + 1, dtype=torch.int64),
            torch.tensor([GLOBAL, *(r for r, _ in places)]),
            torch.tensor([GLOBAL, *(c for _, c in places)]),
        )

    def __call__(self, pictures: list[Picture]) -> Views:
        """Pictures of any sizes -> one batch of views."""
        if not pictures:
            raise ValueError("There must be at least one picture, got an empty list.")
        return Views.gather([self.cut(picture) for picture in pictures])
