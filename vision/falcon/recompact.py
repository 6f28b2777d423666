"""Registers that carry the image out of the encoder in place of its patches."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attar.vision.falcon.reatten import ReAtten
from attar.vision.falcon.regen import ReGen
from attar.vision.reducers.reducer import Reducer
from attar.vision.views import GLOBAL, Views
from attar.vision.vit import ViT


def tiles(m: int) -> tuple[int, int]:
    """Rows and columns, as square as possible, with rows * columns == m."""
    rows = next(r for r in range(math.isqrt(m), 0, -1) if m % r == 0)
    return rows, m // rows


class ReCompact(Reducer):
    """Register-based representation compacting (FALCON, arXiv 2501.16297, section 3.2).

    m learned registers, shared by all views, are appended to the patches before the first layer;
    attention is not masked; only they leave, through the final norm. Each register of a crop gets
    (row embedding + column embedding) / 2; the whole image has an embedding of its own.

    d: width of the encoder. m: registers per view. max_side: rows and columns of crops that have
    an embedding. std: of the initial registers (1.0 in the published code). reatten: interaction
    across the views of one image, or None. enter_layer: layers that run on the patches alone
    before the registers come in; 0 is the paper, more is cheaper to train. regen: makes the
    registers, so that `m` may be changed at any time; None = m learned ones. seed: of the weights.
    """

    def __init__(
        self,
        d: int,
        m: int = 64,
        max_side: int = 9,
        std: float = 1.0,
        reatten: ReAtten | None = None,
        enter_layer: int = 0,
        regen: ReGen | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if m < 1 or max_side < 1 or enter_layer < 0:
            raise ValueError(
                f"m and max_side must be positive and enter_layer not negative, got m={m}, "
                f"max_side={max_side}, enter_layer={enter_layer}."
            )
        generator = torch.Generator().manual_seed(seed)
        self.m = m
        self.regen = regen
        learned = std * torch.randn(m, d, generator=generator)
        self.registers = nn.Parameter(learned) if regen is None else None
        # The last row of both tables belongs to the whole image.
        self.rows = nn.Parameter(std * torch.randn(max_side + 1, d, generator=generator))
        self.columns = nn.Parameter(std * torch.randn(max_side + 1, d, generator=generator))
        self.reatten = reatten
        self.enter_layer = enter_layer

    def parts(self) -> dict[str, nn.Module]:
        """The parts that a training stage names: "registers" and, where there is one, "reatten"."""
        learned = [self.rows, self.columns]
        learned += [] if self.registers is None else [self.registers]
        learned += [] if self.regen is None else list(self.regen.parameters())
        made: dict[str, nn.Module] = {"registers": nn.ParameterList(learned)}
        return made if self.reatten is None else made | {"reatten": self.reatten}

    @torch.no_grad()
    def start_at(self, vit: ViT, pixels: Tensor) -> None:
        """Start register i as the mean patch of the i-th of m tiles of these images, places at 0.

        A departure from the paper's random registers, for short training: each then looks like a
        patch of its own place to layers that know only patches. Needs learned registers.
        """
        if self.registers is None:
            raise ValueError("Registers made by a ReGen have no starting point of their own.")
        tokens = vit.embed(pixels)
        x = tokens.join()
        if self.enter_layer:
            x = vit.run(vit.enter(x), stop=self.enter_layer)
        grid = vit.grid_of(pixels)
        mean = tokens.like(x).patches.mean(dim=0).T.reshape(-1, *grid)
        self.registers.copy_(F.adaptive_avg_pool2d(mean, tiles(self.m)).flatten(1).T)
        self.rows.zero_()
        self.columns.zero_()

    def placed(self, views: Views) -> Tensor:
        """Registers of each view with its place: [v m d]."""
        top = self.rows.shape[0] - 1
        places = torch.stack([views.row, views.column]).to(self.rows.device)
        if len(views.row) and int(places.max()) >= top:
            raise ValueError(
                f"Rows and columns of crops must be below max_side = {top}, got "
                f"{int(places.max())}; build ReCompact with a larger max_side."
            )
        row, column = torch.where(places == GLOBAL, top, places)
        place = (self.rows[row] + self.columns[column]) * 0.5
        return self.current() + place[:, None]

    def current(self) -> Tensor:
        """The registers [m d] without their place."""
        if self.regen is not None:
            return self.regen(self.m)  # type: ignore[no-any-return]
        if self.registers is None or self.registers.shape[0] != self.m:
            raise ValueError(
                f"m can change only with a ReGen, got m={self.m}; build ReCompact(regen=ReGen(d))."
            )
        return self.registers

    def forward(self, vit: ViT, views: Views, select_layer: int = -1) -> Tensor:
        """Registers [v m d] after the encoder."""
        stop = vit.stop_of(select_layer)
        if self.enter_layer > stop:
            raise ValueError(
                f"Registers enter at layer {self.enter_layer}, after the last one that runs "
                f"({stop}); choose a smaller enter_layer."
            )
        tokens = vit.embed(views.pixels)
        x = tokens.join()
        if self.enter_layer:
            x = vit.run(vit.enter(x), stop=self.enter_layer)
        return self.compact(vit, x, views, stop)

    def compact(self, vit: ViT, x: Tensor, views: Views, stop: int | None = None) -> Tensor:
        """The part behind `enter_layer`: patches [v p+n d] as they are there -> [v m d].

        Training with a frozen trunk calls this on stored x.
        """
        depth = len(vit.layers)
        stop = depth if stop is None else stop
        x = torch.cat([x, self.placed(views).to(x.dtype)], dim=1)
        if not self.enter_layer:
            x = vit.enter(x)
        changes = None if self.reatten is None else self.reatten.changes(views, self.m)
        x = vit.run(x, self.enter_layer, stop, changes, keep=self.m)
        return vit.leave(x) if stop == depth else x

    def settings(self) -> dict[str, Any]:
        """Numbers only; the interaction and the generator are named by theirs."""
        reatten = self.reatten
        heads_depth = None if reatten is None else [reatten.heads, len(reatten.layers)]
        return {
            "d": self.rows.shape[1],
            "m": self.m,
            "max_side": self.rows.shape[0] - 1,
            "enter_layer": self.enter_layer,
            "reatten": heads_depth,
            "regen": None if self.regen is None else [self.regen.scales, self.regen.hidden],
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "ReCompact":
        """The twin."""
        d, reatten, regen = settings["d"], settings["reatten"], settings["regen"]
        made = {
            "reatten": None if reatten is None else ReAtten(d, *reatten),
            "regen": None if regen is None else ReGen(d, *regen),
        }
        return cls(**settings | made)

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """m, for any grid."""
        return self.m
