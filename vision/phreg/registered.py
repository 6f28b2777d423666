"""A model whose learned registers are part of it, for everything that takes a ViT."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attar.vision.phreg.dense import plain
from attar.vision.phreg.student import PHRegStudent
from attar.vision.tokens import Tokens
from attar.vision.vit import Facts, Layer, ViT


class RegisteredViT(ViT):
    """A PH-Reg student as a ViT: its m registers join the prefix, so patches come out clean.

    Every tower, reducer and encoder can be built on it. Attention has no mask, so the place of the
    registers in the sequence changes nothing but rounding. student: with plain dense features; the
    changed last layer of a CLIP student has no layers to hand out and is refused.
    """

    family: ClassVar[str] = "phreg"
    accepts: ClassVar[str] = "attar.vision.phreg.student.PHRegStudent"

    def __init__(self, student: PHRegStudent) -> None:
        if student.dense is not plain:
            raise ValueError(
                "Only students with plain dense features are models of their own; read the patches"
                ' of a student trained with dense="clip" by calling it.'
            )
        super().__init__(student)

    @property
    def inner(self) -> ViT:
        """The model without registers."""
        vit: ViT = self.model.vit
        return vit

    @property
    def facts(self) -> Facts:
        """Those of the inner model, with a longer prefix."""
        f, m = self.inner.facts, len(self.model.registers)
        return Facts(f.width, f.heads, f.patch, f.grid, f.num_prefix + m, f.mean, f.std)

    @property
    def layers(self) -> Sequence[Layer]:
        """The inner model's."""
        return self.inner.layers

    def embed(self, pixels: Tensor) -> Tokens:
        """The inner model's tokens; prefix [b p+m d] with the registers behind the class token."""
        tokens = self.inner.embed(pixels)
        registers = self.model.registers.to(tokens.prefix.dtype).expand(len(pixels), -1, -1)
        return Tokens(tokens.patches, torch.cat([tokens.prefix, registers], 1), grid=tokens.grid)

    def enter(self, x: Tensor) -> Tensor:
        """The inner model's."""
        return self.inner.enter(x)

    def leave(self, x: Tensor) -> Tensor:
        """The inner model's."""
        return self.inner.leave(x)

    def pool(self, x: Tensor) -> Tensor:
        """The inner model's, without the registers."""
        p, m = self.inner.facts.num_prefix, len(self.model.registers)
        return self.inner.pool(torch.cat([x[:, :p], x[:, p + m :]], dim=1))

    def recipe(self) -> dict[str, Any]:
        """The inner recipe and m."""
        m = len(self.model.registers)
        return {"family": self.family, "vit": self.inner.recipe(), "m": m}

    @classmethod
    def rebuild(cls, recipe: dict[str, Any]) -> "RegisteredViT":
        """An equal model with random weights."""
        from attar.vision.adapters import rebuild

        return cls(PHRegStudent(rebuild(recipe["vit"]), recipe["m"]))

    def unlocked(self) -> dict[str, list[nn.Parameter]]:
        """The inner model's."""
        return self.inner.unlocked()
