"""Parts of a measurement, kept as they are made, so that a run that was cut goes on."""

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from torch import Tensor

from bench.context.compllm_copy import CHECKPOINTS
from bench.machine import commit


def kept(name: str, weights: str, place: int, make: Callable[[], Any]) -> Any:
    """Return what an interrupted run of the same commit and weights measured, or measure it."""
    file = CHECKPOINTS / f"{name}-parts" / f"{weights[:12]}-{commit()}" / f"{place}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(make()))
    return json.loads(file.read_text())


def hash_of(parameters: Iterable[Tensor]) -> str:
    """Identify weights by their values."""
    digest = blake2b(digest_size=16)
    for p in parameters:
        digest.update(p.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
