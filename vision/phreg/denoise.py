"""Clean targets: the mean of a teacher's features over shifted views."""

import torch
from torch import Tensor

from attar.vision.phreg.dense import Dense, plain
from attar.vision.phreg.shifts import Shift, shift_pixels, unshift_features
from attar.vision.vit import ViT


def white(vit: ViT) -> Tensor:
    """The colour of the gaps: white, normalised as the model wants it, [3]."""
    mean, std = torch.tensor(vit.facts.mean), torch.tensor(vit.facts.std)
    return (1 - mean) / std


@torch.no_grad()
def denoise(vit: ViT, pixels: Tensor, shifts: list[Shift], dense: Dense = plain) -> Tensor:
    """Test-time-augmented features [b n d] of a batch (PH-Reg, arXiv 2505.21501, Algorithm 1).

    1. Q = 0, K = 0
    2. per shift: move, fill the gap with white, then mirror; take features; undo both
    3. Q += features where known, K += 1 there
    4. Q / K
    Artifacts sit at places of the view, content at places of the image, so the mean keeps the
    content. The first shift must be the unmoved view, which makes K >= 1 everywhere.
    """
    if not shifts or (shifts[0].dy, shifts[0].dx) != (0, 0):
        raise ValueError(
            "The first shift must not move the image, so that every patch is seen; use draw_shifts."
        )
    height, width = vit.grid_of(pixels)
    fill = white(vit)
    total = pixels.new_zeros(pixels.shape[0], height, width, vit.facts.width)
    count = pixels.new_zeros(height, width)
    for shift in shifts:
        view = shift_pixels(pixels, shift, vit.facts.patch, fill)
        patches = dense(vit, view, None).patches
        back, known = unshift_features(patches.reshape(total.shape), shift)
        total += back
        count += known
    return (total / count[..., None]).flatten(1, 2)
