"""Models that stay compatible: a classifier that never moves, against experience replay.

    python examples/stationary.py                          # handwritten digits, 3 seeds, minutes
    python examples/stationary.py --camvid camvid/         # crops of photographs, by class
    python examples/stationary.py --quick

A model learns classes in seven tasks and is replaced by another architecture at the fourth. After
each task its features of a gallery are kept, as a store would keep them, and every later model asks
in every earlier gallery: M(i, j), the share of queries whose nearest class mean is theirs. AC and
AA sum that up (arXiv 2405.02581). With `hoc` nothing is ever embedded again; `replay` is the usual
way to train, `simplex` the fixed classifier without the loss.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.retrieval.compat import CompatibilityMatrix, DSimplex
from attar.retrieval.compat.hoc_loss import hoc_loss

CAPACITY, MEMORY, BATCH, TASKS, REPLACED = 32, 20, 64, 7, 3
ARMS = ("replay", "simplex", "hoc")


@dataclass(frozen=True)
class Labelled:
    """Images [n c h w] from 0 to 1 and their classes [n]."""

    x: Tensor
    y: Tensor

    def of(self, classes: Sequence[int]) -> "Labelled":
        """Only these classes."""
        keep = torch.isin(self.y, torch.tensor(list(classes)))
        return Labelled(self.x[keep], self.y[keep])

    def some(self, rows: NDArray[np.int64]) -> "Labelled":
        """Only these rows."""
        return Labelled(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Data:
    """What is learned from, what is stored, and what is asked: three sets of other images."""

    train: Labelled
    gallery: Labelled
    queries: Labelled


def digits(seed: int = 0) -> Data:
    """Scikit-learn's 1,797 digits of 8 x 8 pixels: a half, a quarter, a quarter."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    images = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    rows, n = np.random.default_rng(seed).permutation(len(y)), len(y)
    parts = np.split(rows, [n // 2, 3 * n // 4])
    return Data(*(Labelled(images[part], torch.tensor(y[part])) for part in parts))


def camvid(root: Path, seed: int = 0, most: int = 300) -> Data:
    """Crops of CamVid's street photographs around pixels of each of 11 classes.

    Each split has frames of its own: train, val as gallery, test as queries.
    """
    found = (crops(root, split, seed, most) for split in ("train", "val", "test"))
    return Data(*found)


def crops(root: Path, split: str, seed: int, most: int, side: int = 48) -> Labelled:
    """Squares whose middle and most frequent label are one class, as 16 x 16 pixels."""
    from PIL import Image

    draw, x, y = np.random.default_rng(seed), [], []
    files = sorted((root / f"{split}annot").glob("*.png"))
    each = -(-most // len(files))
    for file in files:
        labels = np.array(Image.open(file))
        frame = Image.open(root / split / f"{file.stem}.jpg").convert("RGB")
        inside = labels[side // 2 : -side // 2, side // 2 : -side // 2]
        for label in range(11):
            places = np.argwhere(inside == label)
            for top, left in places[draw.permutation(len(places))[: 2 * each]][:each].tolist():
                part = labels[top : top + side, left : left + side]
                if np.bincount(part.ravel(), minlength=12).argmax() == label or label in (2, 6, 9):
                    crop = frame.crop((left, top, left + side, top + side)).resize((16, 16))
                    x.append(np.asarray(crop, np.float32).transpose(2, 0, 1) / 255)
                    y.append(label)
    return Labelled(torch.from_numpy(np.stack(x)), torch.tensor(y))


@dataclass(frozen=True)
class Loss:
    """What an arm minimises on a batch: features z [b d] of images x with classes y [b]."""

    arm: str
    simplex: DSimplex
    head: nn.Linear
    old: nn.Module | None

    def __call__(self, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """A scalar."""
        if self.arm == "replay":
            return nn.functional.cross_entropy(self.head(z), y)
        before = None
        if self.arm == "hoc" and self.old is not None:
            with torch.no_grad():
                before = self.old(x)
        vertices = torch.from_numpy(self.simplex.targets(y.tolist()))
        return hoc_loss(z, before, vertices, torch.from_numpy(self.simplex.weights))


def plain(channels: int, side: int, dim: int) -> nn.Module:
    """The first architecture: two dense layers."""
    wide = channels * side * side
    return nn.Sequential(nn.Flatten(), nn.Linear(wide, 128), nn.ReLU(), nn.Linear(128, dim))


def better(channels: int, side: int, dim: int) -> nn.Module:
    """The one that replaces it: convolutions."""
    layers: list[nn.Module] = []
    for before, after, stride in ((channels, 16, 1), (16, 32, 2), (32, 64, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, dim))


def tasks(classes: int) -> list[list[int]]:
    """Seven tasks: the first has all but six classes, each other one more."""
    first = classes - TASKS + 1
    return [list(range(first)), *([each] for each in range(first, classes))]


def features(net: nn.Module, x: Tensor) -> Tensor:
    """Unit features [n d] of a finished model."""
    net.eval()
    with torch.no_grad():
        return nn.functional.normalize(torch.cat([net(part) for part in x.split(512)]), dim=1)


def learn(
    net: nn.Module,
    loss: Loss,
    new: Labelled,
    memory: Labelled,
    steps: int,
    more: Sequence[nn.Parameter],
    draw: torch.Generator,
) -> None:
    """Adam with a cosine; half of each batch is of the task, half from memory."""
    net.train()
    optimizer = torch.optim.Adam([*net.parameters(), *more], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        half = BATCH // 2 if len(memory.y) else BATCH
        rows = torch.randint(len(new.y), (half,), generator=draw)
        x, y = new.x[rows], new.y[rows]
        if len(memory.y):
            rows = torch.randint(len(memory.y), (half,), generator=draw)
            x, y = torch.cat([x, memory.x[rows]]), torch.cat([y, memory.y[rows]])
        optimizer.zero_grad()
        loss(net(x), x, y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def identified(queries: Tensor, asked: Tensor, gallery: Tensor, stored: Tensor) -> float:
    """M: share of queries [m d] whose nearest class mean of the gallery [n d] is their class."""
    known = stored.unique()
    means = torch.stack([gallery[stored == each].mean(dim=0) for each in known])
    nearest = (queries @ nn.functional.normalize(means, dim=1).T).argmax(dim=1)
    return float((known[nearest] == asked).float().mean())


def versions(data: Data, arm: str, seed: int, steps: int) -> CompatibilityMatrix:
    """Train the seven models of an arm and let each ask in each gallery before it."""
    torch.manual_seed(seed)
    draw, dim = torch.Generator().manual_seed(seed), CAPACITY - 1
    shape = data.train.x.shape[1], data.train.x.shape[2], dim
    simplex = DSimplex(CAPACITY)
    net, old, head = plain(*shape), None, nn.Linear(dim, CAPACITY)
    galleries: list[Tensor] = []
    rows: list[list[float]] = []
    memory = data.train.of([])
    for t, classes in enumerate(tasks(int(data.train.y.max()) + 1)):
        simplex = simplex.allocate(classes)
        if t == REPLACED:
            net, head = better(*shape), nn.Linear(dim, CAPACITY)
        new = data.train.of(classes)
        more = list(head.parameters()) if arm == "replay" else []
        loss = Loss(arm, simplex, head, old)
        learn(net, loss, new, memory, steps * (2 if t == REPLACED else 1), more, draw)
        galleries.append(features(net, data.gallery.x))
        asked = features(net, data.queries.x)
        rows.append([identified(asked, data.queries.y, g, data.gallery.y) for g in galleries])
        kept = [torch.nonzero(new.y == each)[:MEMORY, 0].numpy() for each in classes]
        some = new.some(np.concatenate(kept))
        memory = Labelled(torch.cat([memory.x, some.x]), torch.cat([memory.y, some.y]))
        old = copied(net, shape, later=t >= REPLACED)
    return CompatibilityMatrix.of_rows(rows)


def copied(net: nn.Module, shape: tuple[int, int, int], later: bool) -> nn.Module:
    """A frozen copy."""
    twin = (better if later else plain)(*shape)
    twin.load_state_dict(net.state_dict())
    return twin.eval().requires_grad_(False)


def main() -> int:
    """Print AC and AA of every arm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog)
    )
    parser.add_argument("--camvid", type=Path, help="folder with train, trainannot, val, ...")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="a task; twice at the replacement")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 steps")
    given = parser.parse_args()
    seeds, steps = (1, 20) if given.quick else (given.seeds, given.steps)
    data = digits() if given.camvid is None else camvid(given.camvid)
    print(
        f"{len(data.train.y)} images to learn, {len(data.gallery.y)} stored, "
        f"{len(data.queries.y)} asked"
    )
    for arm in ARMS:
        found = [versions(data, arm, seed, steps) for seed in range(seeds)]
        ac = np.mean([each.average_compatibility for each in found])
        aa = np.mean([each.average_accuracy for each in found])
        print(f"{arm:<8} AC {ac:.3f}  AA {100 * aa:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
