"""The light visual encoder and the aligner into the space of token embeddings."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attar.context.vist2.renderer import Renderer


class SketchEncoder(nn.Module):
    """Patches of text images to embeddings of an LLM.

    1. A linear layer on the pixels of each character cell (ink = 1, paper = 0), the same for all
    cells. 2. Residual convolutions along the line of cells, so that letters become words wherever
    they stand. 3. The mean over the cells of each patch. 4. A small transformer over the patches of
    one image, with sinusoidal positions. 5. The aligner v^ = s tanh(v W + b) (arXiv 2601.10378),
    s the size of the model's token embeddings, so that it fits models whose embeddings are not of
    size 1 (the paper has s = 1).

    width: of the features, even; reading: convolutions of 7 cells, 0 for none; depth: layers of the
    transformer, 0 for none; out: width of the LLM's embeddings.
    """

    def __init__(
        self, renderer: Renderer, out: int, scale: float = 1.0, width: int = 256, reading: int = 3,
        depth: int = 1, heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        if width % 2 or width % heads or min(reading, depth) < 0 or scale <= 0:
            raise ValueError(
                "width is even and a multiple of heads, reading and depth >= 0, scale > 0; got "
                f"{width}, {heads}, {reading}, {depth}, {scale}."
            )
        self.cell = renderer.cell
        self.columns = renderer.patch_columns
        self.scale = scale
        self.pixels = nn.Linear(self.cell[0] * self.cell[1], width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(reading))
        self.words = nn.ModuleList(nn.Conv1d(width, width, 7, padding=3) for _ in range(reading))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.aligner = nn.Linear(width, out)

    def forward(self, patches: Tensor) -> Tensor:
        """[m p] uint8 pixels of one image to embeddings [m d], each value within ±scale."""
        return self.many([patches])[0]

    def many(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Patches [m p] of several images to their embeddings, in one pass; none sees another."""
        sizes = [len(patches) for patches in images]
        if not any(sizes):
            none = self.aligner.weight.new_zeros(0, self.aligner.out_features)
            return [none for _ in images]
        rows = [self._cells(patches) for patches in images]
        cells = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        there = _mask(sizes, cells.device)
        # What is beyond an image is zero for its convolutions, as if the image were alone.
        inked = there.repeat_interleave(self.columns, 1)[..., None]
        x = nn.functional.gelu(self.pixels(cells))
        for norm, words in zip(self.norms, self.words, strict=True):
            x = x + nn.functional.gelu(words((norm(x) * inked).mT).mT)
        x = self.norm(x).unflatten(1, (-1, self.columns)).mean(2)
        if len(self.blocks.layers):
            x = x + sinusoids(x.shape[1], x.shape[2]).to(x)
            # An image without patches would see nothing at all; what it sees is not used.
            seen = there | (there.sum(1, keepdim=True) == 0)
            x = self.blocks(x, src_key_padding_mask=~seen)
        out = self.scale * torch.tanh(self.aligner(x[there]))
        return list(out.split(sizes))  # type: ignore[no-untyped-call]

    def _cells(self, patches: Tensor) -> Tensor:
        """[m p] pixels to [m * columns, cell pixels], cells in the order of the text."""
        height, width = self.cell
        ink = 1 - patches.to(self.pixels.weight.dtype) / 255
        grid = ink.reshape(len(patches), height, self.columns, width).transpose(1, 2)
        return grid.reshape(-1, height * width)


def _mask(sizes: Sequence[int], device: torch.device) -> Tensor:
    """Return which of [images, patches] there are, bool."""
    lengths = torch.tensor(sizes, device=device)
    return torch.arange(max(sizes), device=device)[None] < lengths[:, None]


def sinusoids(n: int, width: int) -> Tensor:
    """Return sinusoidal positions [n width], width even."""
    half = torch.arange(width // 2) * (-torch.log(torch.tensor(1e4)) / (width // 2))
    angles = torch.arange(n)[:, None] * torch.exp(half)[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
