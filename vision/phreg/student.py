"""A vision transformer with m learned registers that keep its patches clean."""

import torch
from torch import Tensor, nn

from attar.vision.phreg.dense import Dense, plain
from attar.vision.tokens import Tokens
from attar.vision.vit import ViT


class PHRegStudent(nn.Module):
    """Post-hoc registers (PH-Reg, arXiv 2505.21501, section 3.3).

    vit: the model; its weights are shared, so give a copy if the teacher is the same object.
    m: registers, N(0, 1/d), without position; 0 gives the ablation without registers. dense: how
    features are read (plain for DINOv2, value_path for CLIP). seed: of the registers.
    """

    def __init__(self, vit: ViT, m: int = 16, dense: Dense = plain, seed: int = 0) -> None:
        super().__init__()
        if m < 0:
            raise ValueError(f"m must not be negative, got {m}.")
        d = vit.facts.width
        generator = torch.Generator().manual_seed(seed)
        self.vit = vit
        self.registers = nn.Parameter(torch.randn(m, d, generator=generator) * d**-0.5)
        self.dense = dense

    @torch.no_grad()
    def start_at(self, pixels: Tensor) -> None:
        """Move the registers to the mean embedded patch of these images, a tenth of them left.

        A departure from the paper: random registers disturb a model much more at first (DINOv2-S,
        224 px, 16 registers: mean cosine to the untouched patches .963 random, .998 here), which
        100 epochs repair and a few do not. The remaining tenth tells the registers apart.
        """
        mean = self.vit.embed(pixels).patches.mean(dim=(0, 1))
        self.registers.mul_(0.1).add_(mean)

    def forward(self, pixels: Tensor) -> Tokens:
        """Tokens of a batch [b 3 H W]; the registers are beside the patches, not among them."""
        return self.dense(self.vit, pixels, self.registers)

    def unlock(self) -> list[nn.Parameter]:
        """Freeze all but the published set, and return it.

        Registers, patch convolution, position embedding, the whole last layer.
        """
        self.requires_grad_(False)
        unlocked = [p for group in self.vit.unlocked().values() for p in group]
        trained = [self.registers, *unlocked] if self.registers.numel() else unlocked
        for parameter in trained:
            parameter.requires_grad_(True)
        return trained
