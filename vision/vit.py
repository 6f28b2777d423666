"""A vision transformer of any family, cut where tokens come in and go out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attar.vision.attention import AttentionWeights
from attar.vision.tokens import Tokens

Change = Callable[[Tensor], Tensor]
"""[b t d] -> [b t d]."""


@dataclass(eq=False)  # not frozen: torch.compile cannot construct frozen dataclasses
class Layer:
    """One pre-norm layer: x = x + scale1(attend(norm1(x))); x = x + scale2(mlp(norm2(x))).

    scale1 and scale2 are LayerScale and stochastic depth where the family has them. `neurons` is
    the module whose output [b t hidden] is the activations of the MLP.
    """

    norm1: Change
    attend: Change
    scale1: Change
    norm2: Change
    mlp: Change
    scale2: Change
    neurons: nn.Module
    weights: Callable[[], AttentionWeights]

    def __call__(
        self, x: Tensor, interact: Change | None = None, keep: int | None = None
    ) -> Tensor:
        """Run the layer; `interact` changes what attention returned, before it is added.

        keep: return only the last so many tokens; the MLP, which works token by token, then runs
        on these alone.
        """
        y = self.attend(self.norm1(x))
        if interact is not None:
            y = interact(y)
        x = x + self.scale1(y)
        if keep is not None:
            x = x[:, -keep:]
        return x + self.scale2(self.mlp(self.norm2(x)))


@dataclass(frozen=True)
class Facts:
    """What has to be known about a model before it runs.

    width: d. heads: attention heads. patch: side of a patch in pixels. grid: (h, w) of its own
    position embeddings. num_prefix: p. mean, std: per RGB channel, of pixels in 0..1.
    """

    width: int
    heads: int
    patch: int
    grid: tuple[int, int]
    num_prefix: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class ViT(nn.Module, ABC):
    """A foreign model and the loop over its own layers. The foreign model is not changed.

    Laws, each with a test of that name, for every adapter:
        zero_register_identity: vit(pixels) equals the untouched model, max |diff| <= 1e-5
        registers_are_order_free: permuting the registers permutes what they become, no more
    """

    family: ClassVar[str]

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.checkpointing = False

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Sizes and normalisation."""

    @property
    @abstractmethod
    def layers(self) -> Sequence[Layer]:
        """The layers, read from the foreign model at every call, so that replaced parts count."""

    @abstractmethod
    def embed(self, pixels: Tensor) -> Tokens:
        """[b 3 H W] normalised pixels -> tokens with their positions, before any norm."""

    @abstractmethod
    def enter(self, x: Tensor) -> Tensor:
        """The norm before the first layer (the identity in most families)."""

    @abstractmethod
    def leave(self, x: Tensor) -> Tensor:
        """The norm after the last layer."""

    @abstractmethod
    def pool(self, x: Tensor) -> Tensor:
        """The model's image embedding [b e] from prefix and patches before `leave` [b p+n d]."""

    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What `rebuild` needs to make an equal model with other weights; JSON types only."""

    @abstractmethod
    def unlocked(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that PH-Reg trains: "patch", "position" and "last" (the last layer)."""

    def grid_of(self, pixels: Tensor) -> tuple[int, int]:
        """The grid (h, w) of a batch [b 3 H W]; refuses sizes that are no multiple of the patch."""
        patch = self.facts.patch
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ValueError(
                f"Pixels must be [b 3 H W], got {list(pixels.shape)}; use an ImageProcessor."
            )
        height, width = pixels.shape[-2:]
        if height < patch or width < patch or height % patch or width % patch:
            raise ValueError(
                f"Height and width must be multiples of the patch ({patch}), got {height} x "
                f"{width}; resize with an ImageProcessor, or to {max(1, height // patch) * patch}"
                f" x {max(1, width // patch) * patch}."
            )
        return height // patch, width // patch

    def run(
        self,
        x: Tensor,
        start: int = 0,
        stop: int | None = None,
        interact: Sequence[Change | None] | None = None,
        keep: int | None = None,
    ) -> Tensor:
        """Layers start..stop-1 on a sequence [b t d], with gradient checkpointing if asked.

        keep: return only the last so many tokens, exactly as if the rest were cut off afterwards.
        """
        chosen = list(enumerate(self.layers))[start:stop]
        for index, layer in chosen:
            change = None if interact is None else interact[index]
            last = keep if index == chosen[-1][0] else None
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, change, last, use_reentrant=False)
            else:
                x = layer(x, change, last)
        return x if keep is None or chosen else x[:, -keep:]

    def stop_of(self, select_layer: int) -> int:
        """How many layers run for hidden state `select_layer` (0 = embeddings, -1 = the last)."""
        depth = len(self.layers)
        if not -depth - 1 <= select_layer <= depth:
            raise ValueError(
                f"select_layer must be in {-depth - 1}..{depth} for {depth} layers, got "
                f"{select_layer}."
            )
        return select_layer if select_layer >= 0 else depth + 1 + select_layer

    def forward(
        self, pixels: Tensor, registers: Tensor | None = None, select_layer: int = -1
    ) -> Tokens:
        """Tokens of a batch [b 3 H W], with registers [m d] or [b m d] appended at the input.

        select_layer counts hidden states as the transformers library does; the last one leaves
        through the final norm, the others do not.
        """
        tokens = self.embed(pixels)
        if registers is not None:
            batch = registers.expand(pixels.shape[0], -1, -1).to(tokens.patches.dtype)
            tokens = Tokens(tokens.patches, tokens.prefix, batch, tokens.grid)
        stop = self.stop_of(select_layer)
        x = self.run(self.enter(tokens.join()), stop=stop)
        return tokens.like(self.leave(x) if stop == len(self.layers) else x)
