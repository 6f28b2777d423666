"""Norm maps to look at: the image, its patches before, its patches after."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# Dark violet to yellow, even in brightness; five anchors of a viridis-like ramp.
_RAMP = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], float)


def colour(values: np.ndarray) -> np.ndarray:
    """Numbers in 0..1 [h w] -> colours [h w 3] uint8."""
    place = np.clip(values, 0, 1) * (len(_RAMP) - 1)
    channels = [np.interp(place, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def heat_map(values: Tensor, size: tuple[int, int], low: float, high: float) -> Image.Image:
    """A grid of numbers [h w] -> an image of size (width, height), one block per number."""
    scaled = ((values.float() - low) / max(high - low, 1e-12)).detach().cpu().numpy()
    return Image.fromarray(colour(scaled)).resize(size, Image.Resampling.NEAREST)


def norm_picture(
    image: Image.Image, maps: list[Tensor], grid: tuple[int, int], gap: int = 8
) -> Image.Image:
    """The image and one norm map per tensor [n d], side by side on one common scale."""
    norms = [m.float().norm(dim=-1).reshape(grid) for m in maps]
    low, high = min(n.min().item() for n in norms), max(n.max().item() for n in norms)
    return side_by_side([image, *(heat_map(n, image.size, low, high) for n in norms)], gap)


def attention_picture(
    image: Image.Image, weights: Tensor, grid: tuple[int, int], gap: int = 4, columns: int = 6
) -> Image.Image:
    """The image, then per row of weights [k n] the image lit where that register looks.

    `columns` tiles per line, line by line.
    """
    pixels = torch.from_numpy(np.array(image)).float()
    tiles = [image]
    for row in weights.float():
        lit = np.array(heat_map(row.reshape(grid), image.size, 0.0, row.max().item()))
        mixed = 0.45 * pixels.numpy() + 0.55 * lit
        tiles.append(Image.fromarray(mixed.round().astype(np.uint8)))
    lines = [side_by_side(tiles[i : i + columns], gap) for i in range(0, len(tiles), columns)]
    size = (lines[0].width, sum(line.height + gap for line in lines) - gap)
    sheet = Image.new("RGB", size, "white")
    for number, line in enumerate(lines):
        sheet.paste(line, (0, number * (line.height + gap)))
    return sheet


def side_by_side(tiles: list[Image.Image], gap: int) -> Image.Image:
    """Images of one height in a row on white."""
    width = sum(tile.width for tile in tiles) + gap * (len(tiles) - 1)
    sheet = Image.new("RGB", (width, tiles[0].height), "white")
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width + gap
    return sheet
