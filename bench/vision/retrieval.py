"""Finding a photograph from a part of it: one pooled vector against several small ones."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor, nn

import attar
from attar.stores.multi import MultiStore
from attar.vision.adapters import adapt
from attar.vision.falcon import ReCompact
from attar.vision.images import ImageProcessor, open_image
from attar.vision.reducers.average_pool import pool_patches
from attar.vision.views import Views
from attar.vision.vit import ViT
from bench.registry import Result, bench
from bench.vision.pictures import photographs
from bench.vision.weights import WHERE, saliency_dinov2

SIDE, GRID, D = 224, (16, 16), 384
M, SMALL, ENTER = 16, 96, 9
CODECS = {
    "pooled": ("float32", "float16", "float8_e4m3", "pca50%+float8_e4m3", "binary"),
    "16 registers": ("float8_e4m3", "binary", "pca50%+binary", "pca25%+binary"),
    "16 average-pooled": ("pca96+float8_e4m3", "pca96+binary", "pca48+binary", "pca24+binary"),
    "4 average-pooled": ("float8_e4m3", "binary", "pca50%+binary", "pca25%+binary"),
}


def part_of(picture: Any, index: int) -> Image.Image:
    """A third of the area from a seeded place, mirrored, darker."""
    image = open_image(picture)
    rng = np.random.default_rng(index)
    w, h = round(image.width * 0.58), round(image.height * 0.58)
    left, top = rng.integers(0, image.width - w + 1), rng.integers(0, image.height - h + 1)
    crop = ImageOps.mirror(image.crop((left, top, left + w, top + h)))
    return ImageEnhance.Brightness(crop).enhance(0.7)


@dataclass(frozen=True)
class Seen:
    """One pass over pictures: before layer ENTER [n t d], and the patches that leave [n p d]."""

    early: Tensor
    last: Tensor

    @classmethod
    @torch.no_grad()
    @torch.autocast("cpu", torch.bfloat16)
    def of(cls, vit: ViT, pictures: list[Any]) -> "Seen":
        """In bfloat16, eight at a time."""
        early, last = [], []
        for part in ImageProcessor.of(vit)(pictures).split(8):
            early.append(vit.run(vit.enter(vit.embed(part).join()), stop=ENTER))
            last.append(vit.leave(vit.run(early[-1], ENTER)))
        return cls(torch.cat(early), torch.cat(last))


class Registers(nn.Module):
    """FALCON's registers in a frozen encoder, each read out as a small vector."""

    def __init__(self, vit: ViT, pixels: Tensor) -> None:
        super().__init__()
        self.vit = [vit]
        self.falcon = ReCompact(D, M, enter_layer=ENTER)
        self.falcon.start_at(vit, pixels)
        self.head = nn.Linear(D, SMALL)

    def forward(self, seen: Seen, index: Tensor) -> Tensor:
        """Unit vectors [b M SMALL]."""
        with torch.autocast("cpu", torch.bfloat16):
            x = seen.early[index]
            made = self.head(self.falcon.compact(self.vit[0], x, Views.whole(x)))
        return F.normalize(made.float(), dim=-1)


class Pooled(nn.Module):
    """The class token through a linear head that starts as the identity: as much training."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(D, D)
        nn.init.eye_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, seen: Seen, index: Tensor) -> Tensor:
        """Unit vectors [b 1 D]."""
        return F.normalize(self.head(seen.last[index, :1].float()), dim=-1)


class Averages(nn.Module):
    """Nothing to train: means of tiles."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.side = int(count**0.5)

    def forward(self, seen: Seen, index: Tensor) -> Tensor:
        """Unit vectors [b count D]."""
        return F.normalize(pool_patches(seen.last[index, 1:].float(), GRID, self.side), dim=-1)


def train(model: nn.Module, wholes: Seen, parts: Seen, epochs: int, rate: float) -> nn.Module:
    """A part must find its photograph among those of the batch (InfoNCE over MaxSim)."""
    torch.manual_seed(0)
    count = len(wholes.early)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(epochs):
        for index in torch.randperm(count)[: count // 10 * 10].split(10):
            asked, found = model(parts, index), model(wholes, index)
            scores = torch.einsum("aqd,bmd->abqm", asked, found).amax(dim=3).mean(dim=2)
            loss = F.cross_entropy(scores / 0.05, torch.arange(len(index)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


@torch.no_grad()
def vectors(model: nn.Module, seen: Seen) -> np.ndarray:
    """All of them, [n m d]."""
    return torch.cat([model(seen, i) for i in torch.arange(len(seen.early)).split(20)]).numpy()


def ranks(stored: np.ndarray, asked: np.ndarray, truth: list[int], codec: str) -> Any:
    """Place of the right photograph per question, and bytes per photograph, in a real store."""
    n, m, _ = stored.shape
    with tempfile.TemporaryDirectory() as folder:
        path, recipe = Path(folder) / "s", attar.codec(codec)
        with MultiStore.create(path, recipe, m, train_at=n * m) as store:
            store.add([str(i) for i in range(n)], stored)
            hits = store.search(asked, k=n, threads=1)
            size = store.store.info()["bytes_per_vector"] * m
    return [1 + h.tolist().index(str(t)) for h, t in zip(hits.ids, truth, strict=True)], size


@bench("vision/retrieval", gate="tests/vision")
def retrieval(quick: bool) -> Result:
    """Recall@1 and MRR; documents are coded in a store, queries stay float."""
    torch.set_num_threads(1)
    count, asked, learn, epochs = (20, 10, 10, 1) if quick else (200, 80, 60, 4)
    vit = adapt(saliency_dinov2(SIDE)).requires_grad_(False)
    pictures = photographs(count + learn)
    documents, lessons = pictures[:count], pictures[count:]
    truth = [i * count // asked for i in range(asked)]
    whole, part = Seen.of(vit, documents), Seen.of(vit, [part_of(documents[i], i) for i in truth])
    lesson = Seen.of(vit, lessons), Seen.of(vit, [part_of(p, i) for i, p in enumerate(lessons)])
    registers = Registers(vit, ImageProcessor.of(vit)(lessons[:8]))
    models = {
        "pooled": train(Pooled(), *lesson, epochs, 1e-4),
        "16 registers": train(registers, *lesson, epochs, 1e-3),
        "16 average-pooled": Averages(16),
        "4 average-pooled": Averages(4),
    }
    rows = []
    for name, model in models.items():
        stored, query = vectors(model, whole), vectors(model, part)
        for codec in CODECS[name]:
            places, size = ranks(stored, query, truth, codec)
            rows.append(
                {
                    "vectors": name,
                    "codec": codec,
                    "bytes per image": int(size),
                    "recall@1": float(np.mean([p == 1 for p in places])),
                    "MRR": float(np.mean([1 / p for p in places])),
                }
            )
    rows.sort(key=lambda r: -r["bytes per image"])
    setup = {
        "model": WHERE,
        "task": f"{asked} mirrored, darkened crops (a third of the area), {count} photographs",
        "training": f"registers (entering at layer {ENTER}, width {SMALL}) and the pooled vector's "
        f"linear head: {learn} other photographs, {epochs} epochs, InfoNCE; encoder frozen; CPU",
    }
    return Result(rows, setup)
