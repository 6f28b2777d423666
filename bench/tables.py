"""Fills the tables of README.md and docs/ from `bench/results/*.json`: no number is typed by hand.

A page marks a table with `<!-- table: NAME key,key,… -->` … `<!-- end -->`; NAME is a result file,
the keys are columns of its rows. NAME.bars are its bars: name, bar, what was measured, met.
"""

import json
import re
from pathlib import Path
from typing import Any

MARK = re.compile(r"(<!-- table: (\S+) (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def cell(value: Any) -> str:
    """One value as people read it: four significant digits, no more; met or not."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(rows: list[dict[str, Any]], keys: list[str]) -> str:
    """Rows as a Markdown table with these columns."""
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(cell(row.get(key, "")) for key in keys) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def fill_tables(page: Path, results: Path) -> None:
    """Rewrite every marked table of `page` from the result files in `results`."""

    def fill(match: re.Match[str]) -> str:
        head, name, keys, tail = match.groups()
        name, _, part = name.partition(".")
        file = results / f"{name}.json"
        if not file.exists():
            # Not measured yet: what the page says stays.
            return match.group(0)
        content = json.loads(file.read_text())
        rows = content["rows"]
        if part == "bars":
            rows = [{"name": key, **bar} for key, bar in content["bars"].items()]
        return head + markdown(rows, keys.split(",")) + tail

    page.write_text(MARK.sub(fill, page.read_text()))
