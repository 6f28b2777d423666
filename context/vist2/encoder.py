"""The light visual encoder and the aligner into the space of token embeddings."""

import torch
from torch import Tensor, nn

from attar.context.vist2.renderer import Renderer


class SketchEncoder(nn.Module):
    """Patches of text images to embeddings of an LLM.

    1. A linear layer on the pixels of each patch (ink = 1, paper = 0). 2. A small transformer over
    the patches of one image, with sinusoidal positions. 3. The aligner v^ = s tanh(v W + b)
    (arXiv 2601.10378), s the size of the model's token embeddings, so that it fits models whose
    embeddings are not of size 1 (the paper has s = 1).

    width: of the transformer, even; depth: layers, 0 for none; out: width of the LLM's embeddings.
    """

    def __init__(
        self, renderer: Renderer, out: int, scale: float = 1.0, width: int = 256, depth: int = 2,
        heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        if width % 2 or width % heads or depth < 0 or scale <= 0:
            raise ValueError(
                f"width is even and a multiple of heads, depth >= 0, scale > 0; got {width}, "
                f"{heads}, {depth}, {scale}."
            )
        height, across = renderer.patch
        self.scale = scale
        self.pixels = nn.Linear(height * across, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.aligner = nn.Linear(width, out)

    def forward(self, patches: Tensor) -> Tensor:
        """[m p] uint8 pixels of one image to embeddings [m d], each value within ±scale."""
        if patches.shape[0] == 0:
            return patches.new_zeros(0, self.aligner.out_features, dtype=self.aligner.weight.dtype)
        ink = 1 - patches.to(self.pixels.weight.dtype) / 255
        x = self.pixels(ink)
        x = x + sinusoids(len(x), x.shape[1]).to(x)
        x = self.norm(self.blocks(x[None])[0])
        return self.scale * torch.tanh(self.aligner(x))


def sinusoids(n: int, width: int) -> Tensor:
    """Return sinusoidal positions [n width], width even."""
    half = torch.arange(width // 2) * (-torch.log(torch.tensor(1e4)) / (width // 2))
    angles = torch.arange(n)[:, None] * torch.exp(half)[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
