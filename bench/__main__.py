"""Runs benchmarks behind a green gate, prints them, writes `bench/results/*.json`."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import commit, machine
from bench.registry import Benchmark, Result, load_all
from bench.tables import fill_tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def gate_is_green(path: str) -> bool:
    """Run the tests that a benchmark depends on: no number is reported on a red gate."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def show(name: str, result: Result, head: dict[str, Any]) -> None:
    """Print one result: where it was measured, the rows, and each bar with what was got."""
    console = Console(width=160)
    console.print(f"[bold]{name}[/]  {head['machine']['cpu']}  {head['commit']}  {result.setup}")
    table = Table(*(str(key) for key in (result.rows[0] if result.rows else {})))
    for row in result.rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)
    for bar, got in result.bars.items():
        verdict = {True: "met", False: "NOT met", None: "not measured"}[got["met"]]
        console.print(f"  {bar}: {got['bar']}; measured {got['measured']}: {verdict}")


def run_one(benchmark: Benchmark, quick: bool) -> None:
    """Run, print and write one benchmark; a quick run is printed but not written."""
    head = {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d")}
    result = benchmark.run(quick)
    show(benchmark.name, result, head)
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        content = head | {"setup": result.setup, "rows": result.rows, "bars": result.bars}
        file = RESULTS / f"{benchmark.name.replace('/', '_')}.json"
        file.write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    """Run the named benchmarks (all of them without a name)."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="prefixes of benchmark names, or `tables`")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is written")
    parser.add_argument("--no-gate", action="store_true", help="the gate was run just before")
    options = parser.parse_args()
    if options.names == ["tables"]:
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
            fill_tables(page, RESULTS)
        return 0
    known = load_all()
    # A whole name is that benchmark, not also those whose names go on.
    wanted = {name for name in options.names if name in known}
    prefixes = tuple(name for name in options.names if name not in known)
    chosen = [
        b
        for b in known.values()
        if not options.names or b.name in wanted or b.name.startswith(prefixes)
    ]
    gates = {b.gate for b in chosen}
    green = {gate: options.no_gate or gate_is_green(gate) for gate in gates}
    for benchmark in chosen:
        if green[benchmark.gate]:
            run_one(benchmark, options.quick)
    red = [gate for gate, is_green in green.items() if not is_green]
    if red:
        sys.stderr.write(f"Red gate, nothing reported: {', '.join(red)}\n")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
