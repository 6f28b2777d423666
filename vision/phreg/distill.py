"""Self-distillation: a model learns from the clean features of its frozen self."""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attar.vision.adapters import rebuild
from attar.vision.checkpoint import (
    CheckpointError,
    fingerprint,
    put_weights,
    read_config,
    read_weights,
    replace_file,
    save_folder,
)
from attar.vision.images import ImageProcessor
from attar.vision.load import load_vit
from attar.vision.phreg.denoise import denoise
from attar.vision.phreg.dense import Dense, neighbours, plain, value_path
from attar.vision.phreg.loss import distillation_loss
from attar.vision.phreg.shifts import draw_shifts
from attar.vision.phreg.student import PHRegStudent
from attar.vision.vit import ViT

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
STUDENT_DENSE: dict[str, Dense] = {"plain": plain, "clip": value_path}
TEACHER_DENSE: dict[str, Dense] = {"plain": plain, "clip": neighbours}


@dataclass(frozen=True)
class DistillRecipe:
    """What PH-Reg trains with (arXiv 2505.21501, section 4 and the published code).

    epochs, batch: passes and images per step. lr, lr_end: of AdamW, decaying exponentially from
    epoch to epoch. weight_decay: AdamW's. m: registers. views, ratio: of the denoising; views = 1
    is the ablation without denoising. mse_scale: of the loss. dense: "plain" (DINOv2 and its like)
    or "clip" (student MaskCLIP, teacher NACLIP). fixed_views: every epoch sees the same views of an
    image, so that a target is computed once and kept in memory as float16; the paper draws new
    ones. start: "random" registers as in the paper, or "patches" (see PHRegStudent.start_at), for
    short runs. bfloat16: matrix products in this type, as in the paper; weights, loss and optimiser
    stay float32. seed: of registers, order and views.
    """

    epochs: int = 100
    batch: int = 8
    lr: float = 1e-4
    lr_end: float = 5e-6
    weight_decay: float = 1e-2
    m: int = 16
    views: int = 10
    ratio: float = 0.15
    mse_scale: float = 1.0
    dense: str = "plain"
    fixed_views: bool = False
    start: str = "random"
    bfloat16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train."""
        if self.epochs < 1 or self.batch < 1 or not 0 < self.lr_end <= self.lr:
            raise ValueError(
                "epochs and batch must be positive and 0 < lr_end <= lr, got "
                f"{self.epochs}, {self.batch}, {self.lr_end}, {self.lr}."
            )
        if self.dense not in STUDENT_DENSE:
            raise ValueError(f'dense must be "plain" or "clip", got {self.dense!r}.')
        if self.start not in ("random", "patches"):
            raise ValueError(f'start must be "random" or "patches", got {self.start!r}.')

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from lr down to lr_end."""
        share = epoch / max(1, self.epochs - 1)
        return float(self.lr * (self.lr_end / self.lr) ** share)


CLIP_RECIPE = DistillRecipe(batch=16, lr=3e-4, lr_end=1e-5, dense="clip")
"""The paper's numbers for CLIP at 448 px; the defaults are its numbers for DINOv2 at 518 px."""


@dataclass(frozen=True)
class Progress:
    """Where the training is: epoch and step count from 0, `steps` per epoch."""

    epoch: int
    step: int
    steps: int
    loss: float


class Distillation:
    """A resumable training run.

    teacher: stays as it is; the student starts as its copy. recipe: the numbers. load: positions
    of images -> pixels [b 3 H W]. count: how many images there are.
    """

    def __init__(
        self, teacher: ViT, recipe: DistillRecipe, load: Callable[[list[int]], Tensor], count: int
    ) -> None:
        if count < 1:
            raise ValueError("There must be at least one image to distil from, got none.")
        self.teacher = teacher.eval()
        self.recipe, self.load, self.count = recipe, load, count
        dense = STUDENT_DENSE[recipe.dense]
        self.student = PHRegStudent(copy.deepcopy(teacher), recipe.m, dense, recipe.seed)
        if recipe.start == "patches":
            self.student.start_at(load(list(range(min(count, recipe.batch)))))
        self.trained = self.student.unlock()
        self.optimiser = torch.optim.AdamW(
            self.trained, lr=recipe.lr, weight_decay=recipe.weight_decay
        )
        self.epoch = 0
        self._kept: dict[int, Tensor] = {}

    def target(self, index: int, pixels: Tensor) -> Tensor:
        """The teacher's clean features [1 n d] of one image [1 3 H W]."""
        r = self.recipe
        if index in self._kept:
            return self._kept[index].to(pixels)
        epoch = 0 if r.fixed_views else self.epoch
        seed = (r.seed * 1_000_003 + epoch) * 1_000_003 + index
        shifts = draw_shifts(self.teacher.grid_of(pixels), r.views, r.ratio, seed)
        made = denoise(self.teacher, pixels, shifts, TEACHER_DENSE[r.dense])
        if r.fixed_views:
            self._kept[index] = made.half()
            return self._kept[index].to(pixels)
        return made

    def step(self, indices: list[int]) -> float:
        """One update on these images; returns the loss."""
        pixels = self.load(indices).to(self.trained[0].device)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            target = torch.cat([self.target(i, pixels[j : j + 1]) for j, i in enumerate(indices)])
            made = self.student(pixels).patches
        loss = distillation_loss(made.float(), target.float(), self.recipe.mse_scale)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()

    def run_epoch(self, progress: Callable[[Progress], None] | None = None) -> float:
        """One pass in a seeded order; returns the mean loss."""
        r = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = r.rate(self.epoch)
        generator = torch.Generator().manual_seed(r.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.count, generator=generator).tolist()
        batches = [order[i : i + r.batch] for i in range(0, self.count, r.batch)]
        losses = []
        for number, batch in enumerate(batches):
            losses.append(self.step(batch))
            if progress is not None:
                progress(Progress(self.epoch, number, len(batches), losses[-1]))
        self.epoch += 1
        return sum(losses) / len(losses)

    def save(self, file: Path) -> None:
        """Everything that continuing needs, in one safetensors file."""
        tensors = {f"weight.{i}": p.detach().clone() for i, p in enumerate(self.trained)}
        for i, p in enumerate(self.trained):
            for key, value in self.optimiser.state.get(p, {}).items():
                tensors[f"optimiser.{i}.{key}"] = torch.as_tensor(value).clone()
        replace_file(file, lambda part: save_file(tensors, part, self._head()))

    def resume(self, file: Path) -> None:
        """Continue a saved run; refuses one of another teacher, recipe or number of images."""
        with safe_open(file, "pt") as saved:
            head = dict(saved.metadata() or {})
            tensors = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
        expected = self._head()
        wrong = [k for k in ("teacher", "recipe", "count") if head.get(k) != expected[k]]
        if wrong:
            raise CheckpointError(
                f"{file} belongs to another run: {wrong[0]} was {head.get(wrong[0])}, is "
                f"{expected[wrong[0]]}; choose another folder or the same settings."
            )
        with torch.no_grad():
            for i, p in enumerate(self.trained):
                p.copy_(tensors[f"weight.{i}"])
                keys = [k for k in tensors if k.startswith(f"optimiser.{i}.")]
                state = {k.split(".", 2)[2]: tensors[k] for k in keys}
                # AdamW keeps its step counter on the CPU and its moments beside the weights.
                self.optimiser.state[p] = {
                    k: v if k == "step" else v.to(p.device) for k, v in state.items()
                }
        self.epoch = int(head["epoch"])

    def _head(self) -> dict[str, str]:
        return {
            "teacher": fingerprint(self.teacher),
            "recipe": json.dumps(asdict(self.recipe), sort_keys=True),
            "count": str(self.count),
            "epoch": str(self.epoch),
        }


def save_student(folder: Path, student: PHRegStudent, recipe: DistillRecipe) -> None:
    """Write a finished student."""
    config = {"vit": student.vit.recipe(), "m": len(student.registers), "recipe": asdict(recipe)}
    save_folder(folder, "phreg-student", config, student)


def load_student(folder: Path) -> PHRegStudent:
    """Read a finished student, in evaluation mode."""
    config = read_config(folder, "phreg-student")
    dense = STUDENT_DENSE[config["recipe"]["dense"]]
    student = PHRegStudent(rebuild(config["vit"]), config["m"], dense)
    put_weights(student, read_weights(folder), str(folder))
    return student.eval()


def distill(
    images_dir: str | Path,
    model: str | nn.Module,
    out: str | Path,
    recipe: DistillRecipe | None = None,
    side: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    device: str = "cpu",
) -> Path:
    """Train a student on a folder of images, resuming what `out` holds; returns `out`.

    images_dir: searched recursively; no labels. model: see load_vit. side: of the square input in
    pixels, a multiple of the patch; None = the model's own. After every epoch out/state.safetensors
    holds the run, at the end out/config.json and out/model.safetensors the student.
    """
    root, folder = Path(images_dir), Path(out)
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in PICTURES)
    if not files:
        raise ValueError(f"{root} must hold images ({', '.join(PICTURES)}), got none.")
    teacher = load_vit(model).to(device)
    processor = ImageProcessor.of(teacher, side or 0, side or 0)
    recipe = recipe or DistillRecipe()

    def load(indices: list[int]) -> Tensor:
        return processor([files[i] for i in indices])

    run = Distillation(teacher, recipe, load, len(files))
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.safetensors"
    if state.exists():
        run.resume(state)
    while run.epoch < recipe.epochs:
        run.run_epoch(progress)
        run.save(state)
    save_student(folder, run.student, recipe)
    return folder
