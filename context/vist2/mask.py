"""Who sees whom: the text of a chunk is visible inside that chunk only, its image afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Lengths of the chunks of a sequence `text_0 kept_0 text_1 kept_1 …`.

    text: tokens of each chunk. kept: what stays of each (visual tokens, verbatim identifiers); the
    last chunk is being read or written and has usually kept 0.

    Positions count what stays: `text_j` and `kept_j` both begin at sum(kept_<j), since the text is
    gone when what was kept takes its place. So positions are divided by the compression, and a
    sliding window reaches that much further.
    """

    text: tuple[int, ...]
    kept: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.text) != len(self.kept) or min((*self.text, *self.kept), default=0) < 0:
            raise ValueError(
                f"Every chunk has a text and a kept length >= 0, got {self.text} and {self.kept}."
            )

    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return chunk, is_text and position of every element of the sequence, [t] each."""
        chunk: list[int] = []
        is_text: list[bool] = []
        position: list[int] = []
        start = 0
        for i, (text, kept) in enumerate(zip(self.text, self.kept, strict=True)):
            chunk += [i] * (text + kept)
            is_text += [True] * text + [False] * kept
            position += [*range(start, start + text), *range(start, start + kept)]
            start += kept
        long = torch.long
        flags = torch.tensor(is_text, dtype=torch.bool)
        return torch.tensor(chunk, dtype=long), flags, torch.tensor(position, dtype=long)


def visible(layout: Layout, window: int | None = None) -> Tensor:
    """Return which element (row) sees which (column): bool [t t].

    1. Nothing sees what comes later in the sequence. 2. Text sees the text of its own chunk, and
    what was kept of earlier chunks. 3. Kept elements see kept elements, never text: what stays must
    not depend on what is freed. 4. Sliding layers do not see `window` positions back or more.
    """
    chunk, is_text, position = layout.columns()
    row, column = chunk[:, None], chunk[None]
    causal = torch.ones(len(chunk), len(chunk), dtype=torch.bool).tril()
    text_to_text = is_text[:, None] & is_text[None] & (row == column)
    # What a chunk keeps comes after its text, so that causality hides it from that text.
    seen = causal & (text_to_text | ~is_text[None])
    if window is not None:
        seen &= position[:, None] - position[None] < window
    return seen


def masks(
    layer_types: Sequence[str] | None, build: dict[str, Tensor], dtype: torch.dtype
) -> Tensor | dict[str, Tensor]:
    """Return what transformers takes: one mask [1 1 q k], or one per layer type.

    Additive (0 where visible, else the least value of `dtype`): eager attention would add a boolean
    mask as ones and zeros, without an error.
    """
    hidden = torch.finfo(dtype).min
    shaped = {
        name: torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        .masked_fill(~mask, hidden)[None, None]
        for name, mask in build.items()
    }  # fmt: skip
    kinds = set(layer_types or ["full_attention"])
    if kinds == {"full_attention"}:
        return shaped["full_attention"]
    return {kind: shaped[kind] for kind in sorted(kinds)}
