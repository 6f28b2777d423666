"""A training loop that resumes: weights, optimiser and step in one safetensors file."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_LOG = logging.getLogger("attar.context")
_FORMAT = "attar-training-1"


@dataclass(frozen=True)
class Training:
    """How to train. The learning rate rises over `warmup` steps and falls linearly to 0.

    steps, warmup: optimiser steps. rate: peak learning rate. clip: norm of the gradient at most.
    save_every, check_every: steps between checkpoints and between held-out measurements.
    """

    steps: int = 150
    rate: float = 1e-3
    warmup: int = 20
    clip: float = 1.0
    save_every: int = 25
    check_every: int = 50

    def __post_init__(self) -> None:
        if min(self.steps, self.save_every, self.check_every) < 1 or self.warmup < 0:
            raise ValueError(f"Steps are counted from 1, got {self}.")
        if self.rate <= 0 or self.clip <= 0:
            raise ValueError(f"rate and clip are above 0, got {self.rate} and {self.clip}.")

    def rate_at(self, step: int) -> float:
        """Learning rate of step 0, 1, ….."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return self.rate * (self.steps - step) / max(1, self.steps - self.warmup)


def run(
    parameters: dict[str, Tensor],
    gradient: Callable[[int], Tensor],
    training: Training,
    folder: Path | str,
    held_out: Callable[[], dict[str, float]] | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    seconds: float = float("inf"),
) -> list[dict[str, Any]]:
    """Train, or go on where the checkpoint in `folder` stops; return the held-out records.

    parameters: what is trained, by name. gradient: step -> the loss of that step, a function of the
    step and the parameters alone, so that a run that was interrupted ends with the same weights as
    one that was not (same machine, same threads). If it returns a loss that is still attached to
    its graph, it is differentiated here.
    seconds: of wall time, after which to stop at a checkpoint, to be called again. progress: called
    after every step with step, loss, rate, seconds. held_out: returns numbers by name, measured at
    step 0, every `check_every` steps and at the end.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "checkpoint.safetensors"
    optimiser = torch.optim.AdamW(parameters.values(), lr=training.rate, weight_decay=0.0)
    step, records = _resume(file, parameters, optimiser, training)
    began = time.monotonic()
    if held_out is not None and not records:
        records.append({"step": step} | held_out())
    while step < training.steps and time.monotonic() - began < seconds:
        loss = _step(gradient, training, step, optimiser, parameters)
        step += 1
        last = step == training.steps
        if progress is not None:
            rate, passed = training.rate_at(step - 1), time.monotonic() - began
            progress({"step": step, "loss": loss, "rate": rate, "seconds": passed})
        if held_out is not None and (step % training.check_every == 0 or last):
            records.append({"step": step} | held_out())
            _LOG.info("held out: %s", records[-1])
        if step % training.save_every == 0 or last:
            _save(file, parameters, optimiser, step, records)
    _save(file, parameters, optimiser, step, records)
    return records


def _step(
    gradient: Callable[[int], Tensor],
    training: Training,
    step: int,
    optimiser: torch.optim.Optimizer,
    parameters: dict[str, Tensor],
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = training.rate_at(step)
    optimiser.zero_grad(set_to_none=True)
    loss = gradient(step)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters.values(), training.clip)
    optimiser.step()
    # Around a whole run, autocast would keep casting the weights of the first step, silently.
    torch.clear_autocast_cache()
    return float(loss.detach())


def _save(
    file: Path,
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
    records: list[dict[str, Any]],
) -> None:
    """Write weights and optimiser state to a new file, then put it in place of the old one."""
    tensors = {f"value/{n}": p.detach().cpu().contiguous() for n, p in parameters.items()}
    for name, value in parameters.items():
        state = optimiser.state.get(value, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in state:
                tensors[f"{key}/{name}"] = state[key].detach().cpu().contiguous()
    header = {"format": _FORMAT, "step": str(step), "records": json.dumps(records)}
    fresh = file.with_suffix(".new")
    save_file(tensors, str(fresh), metadata=header)
    fresh.replace(file)


def _resume(
    file: Path, parameters: dict[str, Tensor], optimiser: torch.optim.Optimizer, training: Training
) -> tuple[int, list[dict[str, Any]]]:
    if not file.exists():
        return 0, []
    with safe_open(str(file), "pt") as stored:
        header = stored.metadata() or {}
        if header.get("format") != _FORMAT:
            raise ValueError(
                f"{file} is not {_FORMAT}, got {header.get('format')!r}; move it away."
            )
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    step = int(header["step"])
    if step > training.steps:
        raise ValueError(f"{file} is at step {step} of {training.steps}; use another folder.")
    values = {n.removeprefix("value/"): t for n, t in tensors.items() if n.startswith("value/")}
    fill(parameters, values)
    for name, value in parameters.items():
        if f"exp_avg/{name}" in tensors:
            optimiser.state[value] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"exp_avg/{name}"].to(value.device),
                "exp_avg_sq": tensors[f"exp_avg_sq/{name}"].to(value.device),
            }
    return step, json.loads(header["records"])


def fill(parameters: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Put values into parameters of the same names and shapes.

    Raises
    ------
    ValueError
        If a name or a shape differs; nothing is changed then.
    """
    wrong = list(parameters.keys() ^ values.keys())
    both = parameters.keys() & values.keys()
    wrong += [n for n in both if parameters[n].shape != values[n].shape]
    if wrong:
        raise ValueError(f"Weights and model differ in {sorted(wrong)[:3]}; same recipe?")
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(values[name])
