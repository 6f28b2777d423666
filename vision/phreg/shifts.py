"""The views of test-time augmentation: whole-patch shifts and flips, and how to undo them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shift:
    """Move the image down by `dy` and right by `dx` patches, then mirror it if `flip`."""

    dy: int
    dx: int
    flip: bool


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Greedy farthest-point sampling of rows [p 2], from the first row on: [count] indices."""
    distance = (points - points[0]).square().sum(dim=1)
    chosen = [0]
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = distance.minimum((points - points[chosen[-1]]).square().sum(dim=1))
    return torch.tensor(chosen)


def draw_shifts(grid: tuple[int, int], views: int, ratio: float, seed: int) -> list[Shift]:
    """`views` shifts, the first of which changes nothing (PH-Reg, arXiv 2505.21501, Alg. 1).

    Offsets are uniform in -ratio..ratio of each side, in whole patches; the used ones are chosen
    from a pool ten times as large by farthest points, the unmoved view being the first point.
    Flips have probability one half.
    """
    if views < 1 or not 0 <= ratio < 1:
        raise ValueError(
            f"views must be positive and ratio in 0..1 (excluded), got {views} and {ratio}."
        )
    generator = torch.Generator().manual_seed(seed)
    reach = torch.tensor([int(grid[0] * ratio), int(grid[1] * ratio)])
    span = 2 * reach + 1
    pool = (torch.rand(10 * views, 2, generator=generator) * span).long() - reach
    pool = torch.cat([torch.zeros(1, 2, dtype=torch.int64), pool])
    offsets = pool[farthest_points(pool.float(), views)].tolist()
    flips = (torch.rand(views, generator=generator) < 0.5).tolist()
    flips[0] = False
    return [Shift(dy, dx, flip) for (dy, dx), flip in zip(offsets, flips, strict=True)]


def _overlap(offset: int, length: int) -> tuple[slice, slice]:
    """Where the old content lies before (from) and after (to) a move by `offset`."""
    start, end = max(0, -offset), min(length, length - offset)
    return slice(start, max(start, end)), slice(start + offset, max(start, end) + offset)


def shift_pixels(pixels: Tensor, shift: Shift, patch: int, fill: Tensor) -> Tensor:
    """The view [b 3 H W] of a batch; gaps have the colour `fill` [3]. The input stays."""
    view = fill.to(pixels).reshape(1, 3, 1, 1).expand_as(pixels).clone()
    rows_from, rows_to = _overlap(shift.dy * patch, pixels.shape[2])
    columns_from, columns_to = _overlap(shift.dx * patch, pixels.shape[3])
    view[:, :, rows_to, columns_to] = pixels[:, :, rows_from, columns_from]
    return view.flip(-1) if shift.flip else view


def unshift_features(features: Tensor, shift: Shift) -> tuple[Tensor, Tensor]:
    """Features [b h w d] of a view -> at their places in the image, and where there are any [h w].

    Places whose patch was moved out of the view are 0.
    """
    if shift.flip:
        features = features.flip(2)
    rows_from, rows_to = _overlap(shift.dy, features.shape[1])
    columns_from, columns_to = _overlap(shift.dx, features.shape[2])
    back, known = torch.zeros_like(features), torch.zeros(features.shape[1:3], dtype=torch.bool)
    back[:, rows_from, columns_from] = features[:, rows_to, columns_to]
    known[rows_from, columns_from] = True
    return back, known.to(features.device)
