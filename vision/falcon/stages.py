"""The four training stages: what moves, what stands still, and on which data."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

PARTS = ("registers", "reatten", "projector", "vit", "llm")


@dataclass(frozen=True)
class Stage:
    """One stage.

    trains: the parts that learn. crops: whether images are cut into sub-images (high resolution).
    reatten: whether the interaction runs. data: what the paper trains on.
    """

    name: str
    trains: frozenset[str]
    crops: bool
    reatten: bool
    data: str


STAGES = (
    Stage(
        "static alignment",
        frozenset({"registers", "projector"}),
        crops=False,
        reatten=False,
        data="captions",
    ),
    Stage(
        "coarse alignment",
        frozenset({"registers", "projector", "vit", "llm"}),
        crops=False,
        reatten=False,
        data="long captions, full-text OCR",
    ),
    Stage(
        "fine alignment",
        frozenset({"registers", "projector", "vit", "llm"}),
        crops=True,
        reatten=False,
        data="region captions, text localisation",
    ),
    Stage(
        "instruction tuning",
        frozenset({"registers", "reatten", "projector", "llm"}),
        crops=True,
        reatten=True,
        data="visual instructions",
    ),
)
"""FALCON's recipe (arXiv 2501.16297, section 3.4). The paper says that the encoder is frozen in the
first and the last stage and that everything moves in the second; that it also moves in the third
is our reading."""


def apply_stage(stage: Stage, parts: Mapping[str, nn.Module | nn.Parameter]) -> list[nn.Parameter]:
    """Set requires_grad of every part, and return what the optimiser gets.

    parts: names of PARTS -> modules or parameters; absent parts are skipped, unknown ones refused.
    A parameter in two parts (registers inside a reducer that is also passed) must not be given
    twice with different verdicts; that is refused before anything changes.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"Parts must be among {', '.join(PARTS)}, got {', '.join(unknown)}.")
    verdict: dict[nn.Parameter, bool] = {}
    for name, part in parts.items():
        for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
            moves = name in stage.trains
            if verdict.setdefault(parameter, moves) != moves:
                raise ValueError(
                    f"A parameter of {name!r} is frozen by one part and trained by another."
                )
    for parameter, moves in verdict.items():
        parameter.requires_grad_(moves)
    return [parameter for parameter, moves in verdict.items() if moves]
