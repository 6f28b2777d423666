"""The table of reducers. A new reducer gets a row here, an export, and a file."""

from collections.abc import Callable

from attar.vision.falcon import ReAtten, ReCompact, ReGen
from attar.vision.reducers import (
    AllTokens,
    AveragePool,
    Downsample,
    PerceiverResampler,
    PixelShuffle,
    RandomTokens,
    Reducer,
    ToMe,
)
from attar.vision.vit import ViT

METHODS: dict[str, Callable[[ViT], Reducer]] = {
    "AllTokens": lambda vit: AllTokens(),
    "RandomTokens": lambda vit: RandomTokens(4, seed=3),
    "Downsample": lambda vit: Downsample(4),
    "AveragePool": lambda vit: AveragePool(4),
    "PixelShuffle": lambda vit: PixelShuffle(2),
    "ToMe": lambda vit: ToMe(4),
    "PerceiverResampler": lambda vit: PerceiverResampler(vit.facts.width, 4, heads=3),
    "ReCompact": lambda vit: ReCompact(vit.facts.width, 4),
    "ReCompact+ReAtten": lambda vit: ReCompact(vit.facts.width, 4, reatten=ReAtten.of(vit)),
    "ReCompact+ReGen": lambda vit: ReCompact(vit.facts.width, 4, regen=ReGen(vit.facts.width)),
    "ReCompact@1": lambda vit: ReCompact(vit.facts.width, 4, enter_layer=1),
}
