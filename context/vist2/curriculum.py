"""The curriculum: OCR warm-up, optical language modelling, instruction tuning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.context.training import Training, run
from attar.context.vist2.vist2 import Chunk, Vist2

Chunks = Callable[[int], Sequence[Sequence[Chunk]]]
"""Step number -> the sequences of that step, lists of chunks; a function of the step alone."""


@dataclass(frozen=True)
class Stage:
    """One stage. old_text: text of old chunks stays visible. only_last: loss on the last chunk.

    twice: every chunk is followed by itself, so that its text must be read off its image.
    reading: no LLM; visual tokens are drawn to the mean embedding of what they show.
    still_reading: so much of that loss is added, so that learning to be of use does not unlearn
    what was read: without it a short stage turns images into one prompt, the same for all texts.
    """

    name: str
    old_text: bool = False
    only_last: bool = False
    twice: bool = False
    reading: bool = False
    still_reading: float = 0.0


READING = Stage("reading", reading=True)
"""A warm-up before the warm-up, for small machines: see `Vist2.reading_loss`. Not in the paper."""

STAGES = (
    Stage("ocr", twice=True, only_last=True),
    Stage("olm"),
    Stage("instruct", only_last=True),
)
"""The three stages in their order. The last chunk of an `instruct` sequence is the answer, the one
before it the question. The paper's warm-up also sees old text: `Stage("ocr", old_text=True)`."""


def stage_loss(model: Vist2, stage: Stage, sequences: Sequence[Sequence[Chunk]]) -> Tensor:
    """Return the mean loss of a stage over sequences."""
    every = [c for chunks in sequences for c in chunks]
    if stage.reading:
        return model.reading_loss(every)
    losses = []
    for chunks in sequences:
        shown = [c for c in chunks[:1] for _ in range(2)] if stage.twice else chunks
        losses.append(model.loss(shown, stage.old_text, stage.only_last))
    loss = torch.stack(losses).mean()
    return loss + stage.still_reading * model.reading_loss(every) if stage.still_reading else loss


def train_stage(
    model: Vist2,
    stage: Stage,
    sequences: Chunks,
    training: Training,
    folder: Path | str,
    held_out: Callable[[], dict[str, float]] | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    seconds: float = float("inf"),
) -> list[dict[str, Any]]:
    """Train the encoder through one stage, or go on where its checkpoint stops.

    Each stage has its own folder under `folder`; see `attar.context.training.run`.
    """
    return run(
        dict(model.encoder.named_parameters()),
        lambda step: stage_loss(model, stage, sequences(step)),
        training,
        Path(folder) / stage.name,
        held_out,
        progress,
        seconds,
    )
