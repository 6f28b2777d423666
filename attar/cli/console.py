"""How the command line speaks: tables for people, JSON for machines, errors on stderr."""

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table


def fail(error: BaseException | str) -> int:
    """Say what went wrong on stderr, without a traceback (ATTAR_TRACEBACK=1 shows it); return 2."""
    if isinstance(error, BaseException) and os.environ.get("ATTAR_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    sys.stderr.write(f"attar: {error}\n")
    return 2


def say(text: str) -> None:
    """One plain line on stdout."""
    sys.stdout.write(text + "\n")


def write_json(content: Any) -> None:
    """One JSON document on stdout."""
    say(json.dumps(content, ensure_ascii=False, indent=1))


def write_table(rows: list[dict[str, Any]], title: str | None = None) -> None:
    """Rows as a table; numbers to the right, four digits."""
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for key, value in rows[0].items():
        table.add_column(key, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)


def cell(value: Any) -> str:
    """One value as people read it."""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def human_bytes(count: float) -> str:
    """Bytes with a decimal unit: MB = 10^6."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
