"""ReAtten against no ReAtten where the answer lies in the other crop."""

import copy
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attar.vision.adapters import adapt
from attar.vision.falcon import ReAtten, ReCompact
from attar.vision.images import ImageProcessor
from attar.vision.views import Views
from attar.vision.vit import ViT
from bench.registry import Result, bench
from bench.vision.few_tokens import cached
from bench.vision.pictures import camvid
from bench.vision.weights import WHERE, saliency_dinov2

SIDE, M, ENTER = 224, 8, 9


def halves(processor: ImageProcessor, frames: list[Any]) -> Tensor:
    """The left and right 224 x 224 of every frame at 224 x 448: [2n 3 224 224]."""
    wide = ImageProcessor(SIDE, 2 * SIDE, processor.mean, processor.std)(frames)
    return torch.stack([wide[..., :SIDE], wide[..., SIDE:]], dim=1).flatten(0, 1)


@torch.no_grad()
@torch.autocast("cpu", torch.bfloat16)
def prepare(vit: ViT, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Output of the frozen layers [2n t d], and the target of each half [2n d].

    The target of a half is the mean feature of the OTHER half's four columns at the border: what
    continues across it.
    """
    early, strip = [], []
    for part in pixels.split(8):
        early.append(vit.run(vit.enter(vit.embed(part).join()), stop=ENTER))
        square = vit.leave(vit.run(early[-1], ENTER))[:, 1:].reshape(-1, 16, 16, 384)
        strip.append(torch.stack([square[0::2, :, -4:], square[1::2, :, :4]], 1).flatten(0, 1))
    means = torch.cat(strip).mean(dim=(1, 2))
    other = means.reshape(-1, 2, 384).flip(1).reshape(-1, 384)
    return torch.cat(early).float(), other.float()


ARMS = ("ReAtten", "own crop only", "no ReAtten")
"""The second has the first's parameters and steps, but no crop sees another."""


def views_of(x: Tensor, arm: str) -> Views:
    """Two crops per image, side by side; or every crop as an image of its own."""
    n = len(x) // 2
    column = torch.arange(2).repeat(n)
    own = torch.arange(2 * n)
    image = own if arm == "own crop only" else own // 2
    return Views(x, image, torch.zeros_like(column), column)


def train_one(
    vit: ViT,
    data: dict[str, tuple[Tensor, Tensor]],
    pixels: Tensor,
    arm: str,
    seed: int,
    epochs: int,
) -> dict[str, Any]:
    """Registers, interaction and a linear head learn; the encoder stands still.

    pixels: training crops at whose tiles the registers of every arm start.
    """
    torch.manual_seed(seed)
    vit = copy.deepcopy(vit)
    interaction = None if arm == "no ReAtten" else ReAtten.of(vit)
    falcon = ReCompact(384, M, reatten=interaction, enter_layer=ENTER, seed=seed)
    falcon.start_at(vit, pixels)
    head = nn.Sequential(nn.LayerNorm(M * 384), nn.Linear(M * 384, 384))
    parameters = [*falcon.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
    x, y = data["train"]
    pairs = torch.arange(len(x)).reshape(-1, 2)
    steps = epochs * (len(pairs) // 2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(pairs), generator=generator)[: len(pairs) // 2 * 2]
        for chosen in order.split(2):
            index = pairs[chosen].flatten()
            with torch.autocast("cpu", torch.bfloat16):
                guess = head(falcon.compact(vit, x[index], views_of(x[index], arm)).flatten(1))
            loss = F.mse_loss(guess.float(), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        x, y = data["test"]
        guess = head(falcon.compact(vit, x, views_of(x, arm)).flatten(1)).float()
    return {"squares": (guess - y).square().mean(dim=1).reshape(-1, 2).mean(dim=1).tolist()}


@bench("vision/borders", gate="tests/vision")
def borders(quick: bool) -> Result:
    """Share of the target's variance that is explained on test frames, three seeds."""
    torch.set_num_threads(1)
    vit = adapt(saliency_dinov2(SIDE)).requires_grad_(False)
    seeds, epochs, counts = ((0,), 1, (8, 8)) if quick else ((0, 1, 2), 4, (120, 80))
    data, pixels = {}, {}
    for split, count in zip(("train", "test"), counts, strict=True):
        pairs = camvid(split)
        frames = [pairs[i * len(pairs) // count][0] for i in range(count)]
        pixels[split] = halves(ImageProcessor.of(vit), frames)
        data[split] = prepare(vit, pixels[split])
    mean, std = data["train"][1].mean(dim=0), data["train"][1].std(dim=0)
    data = {s: (x, (y - mean) / std) for s, (x, y) in data.items()}
    variance = data["test"][1].square().mean(dim=1).reshape(-1, 2).mean(dim=1).numpy()
    runs: dict[str, list[np.ndarray]] = {}
    for seed, arm in product(seeds, ARMS):

        def run(arm: str = arm, seed: int = seed) -> dict[str, Any]:
            return train_one(vit, data, pixels["train"][:16], arm, seed, epochs)

        key = f"borders-tiles-{arm}-{seed}-{counts[0]}-{epochs}".replace(" ", "_")
        made = run() if quick else cached(key, run)
        runs.setdefault(arm, []).append(np.array(made["squares"]))
    explained = {a: [1 - s.sum() / variance.sum() for s in squares] for a, squares in runs.items()}
    rows = [
        {
            "arm": arm,
            "explained variance": float(np.mean(e)),
            "per seed": " ".join(f"{v:.3f}" for v in e),
        }
        for arm, e in explained.items()
    ]
    bars = {f"against {arm}": _bar(runs, variance, arm) for arm in ARMS[1:]}
    setup = {
        "model": WHERE,
        "data": f"CamVid, {counts[0]} / {counts[1]} frames as two crops of 224 x 224",
        "training": f"{epochs} epochs, batch 2 frames, encoder frozen, {M} registers per crop "
        f"entering at layer {ENTER}, started at tiles, seeds {list(seeds)}; CPU only",
    }
    return Result(rows, setup, bars)


def _bar(runs: dict[str, list[np.ndarray]], variance: np.ndarray, other: str) -> dict[str, Any]:
    """Gain in explained variance; 95 % interval over seeds and test frames together."""
    rng, draws = np.random.default_rng(0), []
    gain = np.stack(runs[other]) - np.stack(runs["ReAtten"])
    for _ in range(1000):
        i, seed = rng.integers(0, len(variance), len(variance)), rng.integers(0, len(gain))
        draws.append(gain[seed, i].sum() / variance[i].sum())
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "bar": "ReAtten explains more of targets across the border (interval above 0)",
        "measured": f"{gain.mean(axis=0).sum() / variance.sum():+.4f} ({low:+.4f}..{high:+.4f})",
        "met": bool(low > 0),
    }
