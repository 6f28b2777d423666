"""Training of the compressor by distillation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from attar.context.compllm.compressor import CompLLM
from attar.context.compllm.distillation import Sample, distillation_loss
from attar.context.training import Training, run

Batches = Callable[[int], Sequence[Sample]]
"""Step number -> the samples of that step; a function of the step alone, so that runs resume."""


def train(
    compressor: CompLLM,
    batches: Batches,
    training: Training,
    folder: Path | str,
    held_out: Callable[[CompLLM], dict[str, float]] | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    seconds: float = float("inf"),
) -> list[dict[str, Any]]:
    """Train, or go on where the checkpoint in `folder` stops; see `attar.context.training.run`.

    held_out: measures the compressor, LoRA off unless it compresses.
    """

    def gradient(step: int) -> Tensor:
        samples = batches(step)
        with compressor.adapted():
            loss = distillation_loss(compressor, samples)
            # Inside: switching the LoRA off also stops its gradients.
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    measure = None if held_out is None else lambda: held_out(compressor)
    return run(compressor.trained(), gradient, training, folder, measure, progress, seconds)
