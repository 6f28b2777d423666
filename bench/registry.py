"""The list of benchmarks. A benchmark is a function that returns rows; one file per subject.

    @bench("codecs/equal_bytes", gate="tests/retrieval")
    def equal_bytes(quick: bool) -> Result: ...

Files live in `bench/<room>/<subject>.py` and are found, not listed.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What one benchmark measured.

    rows: one dictionary per competitor, same keys; what a reader compares.
    setup: data, shapes, splits, seeds, thread counts; whatever it takes to repeat the run.
    bars: name -> {"bar": text, "measured": number or text, "met": True, False or None}; None means
    "not measured here" and says why in `measured`.
    """

    rows: list[Row]
    setup: Row
    bars: dict[str, Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A registered benchmark: `gate` is the test path that must be green before it may print."""

    name: str
    gate: str
    run: Callable[[bool], Result]


REGISTRY: dict[str, Benchmark] = {}


def bench(name: str, gate: str) -> Callable[[Callable[[bool], Result]], Callable[[bool], Result]]:
    """Register a function `(quick) -> Result` under `room/subject`."""

    def register(run: Callable[[bool], Result]) -> Callable[[bool], Result]:
        if name in REGISTRY:
            raise ValueError(f"Benchmark names are unique, got {name!r} twice; rename one.")
        REGISTRY[name] = Benchmark(name, gate, run)
        return run

    return register


def load_all() -> dict[str, Benchmark]:
    """Import every `bench/<room>/*.py`, so that they register themselves."""
    here = Path(__file__).parent
    for file in sorted(here.glob("*/*.py")):
        if file.stem != "__init__":
            importlib.import_module(f"bench.{file.parent.name}.{file.stem}")
    return dict(sorted(REGISTRY.items()))
