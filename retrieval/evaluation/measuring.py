"""Clocks and scales: CPU seconds and peak memory of one step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """What a step took.

    cpu: seconds of all threads of this process. peak_bytes: resident memory at its highest, minus
    what was resident before; None where the system does not tell (only Linux does).
    """

    cpu: float
    peak_bytes: int | None


def measured(step: Callable[[], T]) -> tuple[T, Cost]:
    """Run a step once and say what it took.

    The kernel's high-water mark is set back to the present size first. Memory that the process had
    already freed and kept is reused unseen, so that a small step may show 0.
    """
    before = _peak_after_reset()
    start = time.process_time()
    result = step()
    seconds = time.process_time() - start
    after = _resident("VmHWM")
    peak = None if before is None or after is None else max(0, after - before)
    return result, Cost(seconds, peak)


def _peak_after_reset() -> int | None:
    try:
        RESET.write_text("5")
    except OSError:
        return None
    return _resident("VmHWM")


def _resident(key: str) -> int | None:
    if not STATUS.exists():
        return None
    line = next((x for x in STATUS.read_text().splitlines() if x.startswith(key)), None)
    return None if line is None else int(line.split()[1]) * 1024
