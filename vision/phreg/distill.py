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

from attar.vision.checkpoint import CheckpointError, fingerprint, replace_file
from attar.vision.images import ImageProcessor
from attar.vision.load import load_vit
from attar.vision.phreg.denoise import denoise
from attar.vision.phreg.loss import distillation_loss
from attar.vision.phreg.recipe import STUDENT_DENSE, TEACHER_DENSE, DistillRecipe
from attar.vision.phreg.saved import save_student
from attar.vision.phreg.shifts import draw_shifts
from attar.vision.phreg.student import PHRegStudent
from attar.vision.vit import ViT

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


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
