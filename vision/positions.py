"""Position embeddings of one grid, resampled to another."""

import torch.nn.functional as F
from torch import Tensor


def resize_positions(
    positions: Tensor, old: tuple[int, int], new: tuple[int, int], antialias: bool = True
) -> Tensor:
    """Resample position embeddings [1 h*w d] from grid `old` to grid `new`, bicubic.

    The same grid returns the argument itself, bit for bit. `antialias` is what timm does; the
    transformers library resamples without.
    """
    if old == new:
        return positions
    square = positions.float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    square = F.interpolate(
        square, size=new, mode="bicubic", align_corners=False, antialias=antialias
    )
    return square.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1).to(positions.dtype)
