"""The numbers of a distillation."""

from dataclasses import dataclass

from attar.vision.phreg.dense import Dense, neighbours, plain, value_path

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
