"""A small corpus in small batches, and what a built store holds."""

from pathlib import Path
from typing import Any

import numpy as np

import attar

ENCODER = "tests.attar.hashed:embed"
COUNT, BATCH, SAMPLE = 330, 32, 100


def contents(path: Path) -> list[Any]:
    """Documents in slot order with the bytes of their codes and originals."""
    with attar.open(path) as store:
        records = list(store.iter())
        snapshot = store._library.snapshot
        columns = []
        for parts in (snapshot.parts, snapshot.originals):
            names = [f.name for f in parts[0].segment.fields] if parts else []
            columns += [
                np.concatenate([part.segment.array(name) for part in parts]) for name in names
            ]
        return [
            (r.id, r.text, r.metadata, *(column[row].tobytes() for column in columns))
            for row, r in enumerate(records)
        ]
