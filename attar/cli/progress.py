"""Progress of a long command: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0

Advance = Callable[[int], None]


@contextmanager
def progress(label: str, total: int, done: int = 0, quiet: bool = False) -> Iterator[Advance]:
    """Yield `advance(count)`. Everything goes to stderr, so that stdout stays the result."""
    if quiet:
        yield lambda count: None
    elif sys.stderr.isatty():
        with _bar(label, total, done) as advance:
            yield advance
    else:
        yield _lines(label, total, done)


@contextmanager
def _bar(label: str, total: int, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total, completed=done, rate="–")
        start, moved = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal moved
            moved += count
            rate = moved / max(time.monotonic() - start, 1e-9)
            bars.update(task, advance=count, rate=f"{rate:,.0f}")

        yield advance


def _lines(label: str, total: int, done: int) -> Advance:
    start = last = time.monotonic()
    moved = 0

    def advance(count: int) -> None:
        nonlocal last, moved
        moved += count
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and done + moved < total:
            return
        last = now
        rate = moved / max(now - start, 1e-9)
        left = (total - done - moved) / rate if rate else float("inf")
        sys.stderr.write(
            f"{label}: {done + moved:,} of {total:,}, {rate:,.0f}/s, {left:,.0f} s left\n"
        )

    return advance
