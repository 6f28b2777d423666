"""What leaves a vision transformer, by role."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The sequence of a vision transformer, split by role.

    patches: [b n d] one per image patch, row by row.
    prefix: [b p d] the model's own extra tokens (class token, native registers); p may be 0.
    registers: [b m d] tokens that this library added, or None.
    grid: (h, w) with h * w == n, or None when the patches no longer form a grid.

    The order in the joined sequence is always prefix, patches, registers. Attention without a mask
    does not see order, so models that were published with registers in front give the same numbers
    up to rounding.
    """

    patches: Tensor
    prefix: Tensor
    registers: Tensor | None = None
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse shapes that do not belong together."""
        if self.grid is not None and self.grid[0] * self.grid[1] != self.patches.shape[1]:
            raise ValueError(
                f"grid (h, w) must satisfy h * w == number of patches, got {self.grid} for "
                f"{self.patches.shape[1]} patches; pass grid=None for tokens without a grid."
            )

    def join(self) -> Tensor:
        """The sequence [b p+n+m d]."""
        parts = [self.prefix, self.patches]
        return torch.cat(parts if self.registers is None else [*parts, self.registers], dim=1)

    def like(self, sequence: Tensor) -> "Tokens":
        """Split a sequence [b p+n+m d] by the lengths of this one."""
        p, n = self.prefix.shape[1], self.patches.shape[1]
        m = 0 if self.registers is None else self.registers.shape[1]
        if sequence.shape[1] != p + n + m:
            raise ValueError(
                f"A sequence must have p + n + m = {p} + {n} + {m} tokens, got "
                f"{sequence.shape[1]}; a model that drops tokens cannot be split by position."
            )
        registers = None if self.registers is None else sequence[:, p + n :]
        return Tokens(sequence[:, p : p + n], sequence[:, :p], registers, self.grid)
