"""Photographs and labelled street scenes as tensors."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from attar.vision.images import ImageProcessor
from bench.machine import DATA

CLASSES, VOID = 11, 11


def photographs(count: int, skip: int = 0, offset: int = 0) -> list[Path]:
    """`count` of the 400 photographs, evenly spread over the classes, after `skip` of those.

    offset: of the first among the sorted files; other offsets give other photographs.
    """
    files = sorted((DATA / "vision" / "in1k").glob("*"))
    spread = [files[i * len(files) // (count + skip) + offset] for i in range(count + skip)]
    return spread[skip:]


def camvid(split: str) -> list[tuple[Path, Path]]:
    """(frame, label map) of "train", "val" or "test"."""
    root = DATA / "vision" / "camvid"
    frames = sorted((root / split).glob("*.jpg"))
    return [(f, root / f"{split}annot" / f"{f.stem}.png") for f in frames]


def patch_labels(file: Path, grid: tuple[int, int]) -> Tensor:
    """The most frequent class in each patch's part of a label map: [h*w] int64, 11 = void."""
    labels = np.array(Image.open(file))
    rows = np.linspace(0, labels.shape[0], grid[0] + 1).round().astype(int)
    columns = np.linspace(0, labels.shape[1], grid[1] + 1).round().astype(int)
    made = [
        np.bincount(labels[r0:r1, c0:c1].ravel(), minlength=VOID + 1).argmax()
        for r0, r1 in zip(rows[:-1], rows[1:], strict=True)
        for c0, c1 in zip(columns[:-1], columns[1:], strict=True)
    ]
    return torch.tensor(made)


def camvid_tensors(
    split: str, processor: ImageProcessor, grid: tuple[int, int], limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pixels [n 3 H W] and patch labels [n h*w] of a split, squashed to the processor's size."""
    pairs = camvid(split)
    if limit is not None:
        pairs = [pairs[i * len(pairs) // limit] for i in range(limit)]
    pixels = processor([frame for frame, _ in pairs])
    return pixels, torch.stack([patch_labels(label, grid) for _, label in pairs])


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over the classes that occur of intersection / union; [c c] rows = truth."""
    inside = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - inside
    return float((inside[union > 0] / union[union > 0]).mean())


def confusions(guess: Tensor, truth: Tensor) -> np.ndarray:
    """Per image a confusion matrix [n c c], void left out; guess and truth [n p]."""
    made = []
    for g, t in zip(guess.numpy(), truth.numpy(), strict=True):
        kept = t != VOID
        flat = np.bincount(t[kept] * CLASSES + g[kept], minlength=CLASSES * CLASSES)
        made.append(flat.reshape(CLASSES, CLASSES))
    return np.stack(made)
