"""Registers without training: the neurons that make artifacts write into a spare token."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attar.vision.phreg.artifacts import norm_outliers
from attar.vision.tokens import Tokens
from attar.vision.vit import ViT


@dataclass(frozen=True)
class Neuron:
    """One unit of the MLP of one layer, and its mean activation at artifacts."""

    layer: int
    unit: int
    activation: float


@contextmanager
def _recorded(vit: ViT) -> Iterator[list[Tensor]]:
    """The activations [b t hidden] of every layer's MLP, in order; hooks go when the block ends."""
    seen: list[Tensor] = []

    def keep(_module: Any, _args: Any, out: Tensor) -> None:
        seen.append(out.detach())

    handles = [layer.neurons.register_forward_hook(keep) for layer in vit.layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def find_register_neurons(
    vit: ViT,
    pixels: Tensor,
    top_k: int,
    highest_layer: int | None = None,
    detect_layer: int = -2,
    threshold: float = 3.5,
) -> list[Neuron]:
    """FindRegisterNeurons (arXiv 2506.08010, Algorithm 1), strongest first.

    1. artifacts: patches with an unusually high norm in hidden state `detect_layer`
    2. per neuron of layers 0..highest_layer: mean activation over all artifacts of the batch
    3. the top_k neurons by that mean
    The paper takes patches above a fixed norm, chosen per model; ours are robust outliers of the
    image (norm_outliers), so one default suits all models. Raises ValueError without artifacts.
    """
    with _recorded(vit) as activations:
        tokens = vit(pixels, select_layer=detect_layer)
    outliers = norm_outliers(tokens.patches, threshold).score > threshold
    if not outliers.any():
        raise ValueError(
            f"No patch has an unusually high norm in hidden state {detect_layer}; give more images,"
            " another detect_layer or a lower threshold, or leave the model as it is."
        )
    p, n = tokens.prefix.shape[1], tokens.patches.shape[1]
    last = len(activations) - 1 if highest_layer is None else highest_layer
    means = [a[:, p : p + n][outliers].mean(dim=0) for a in activations[: last + 1]]
    best = torch.cat(means).topk(min(top_k, sum(map(len, means))))
    found, first = [], torch.tensor([0, *(len(m) for m in means)]).cumsum(0)
    for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        layer = int((first[1:] <= index).sum())
        found.append(Neuron(layer, index - int(first[layer]), value))
    return found


class TestTimeRegisters:
    """Test-time registers (arXiv 2506.08010, section 4): one zero token takes the artifacts.

    For each register neuron its largest activation over the patches goes to the spare token, and
    it is 0 at all others. The model is changed by hooks while it runs, and only then.
    """

    __test__ = False  # not a test, whatever its name begins with

    def __init__(self, vit: ViT, neurons: list[Neuron]) -> None:
        depth = len(vit.layers)
        if any(not 0 <= neuron.layer < depth for neuron in neurons):
            raise ValueError(
                f"Neurons must be in layers 0..{depth - 1}, for another model they are not."
            )
        self.vit, self.neurons = vit, tuple(neurons)

    def __call__(self, pixels: Tensor, select_layer: int = -1) -> Tokens:
        """Tokens of a batch [b 3 H W]; `registers` [b 1 d] is the spare token."""
        spare = torch.zeros(1, self.vit.facts.width, device=pixels.device, dtype=pixels.dtype)
        with self._moved(self.vit.facts.num_prefix):
            return self.vit(pixels, spare, select_layer)  # type: ignore[no-any-return]

    @contextmanager
    def _moved(self, prefix: int) -> Iterator[None]:
        handles = []
        for index, layer in enumerate(self.vit.layers):
            units = [neuron.unit for neuron in self.neurons if neuron.layer == index]
            if units:
                handles.append(layer.neurons.register_forward_hook(_mover(units, prefix)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _mover(units: list[int], prefix: int) -> Any:
    def move(_module: Any, _args: Any, out: Tensor) -> Tensor:
        strongest = out[:, prefix:-1, units].amax(dim=1)
        out = out.clone()
        out[:, :, units] = 0
        out[:, -1, units] = strongest
        return out

    return move
