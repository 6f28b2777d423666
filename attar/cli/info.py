"""`attar info DIR`."""

from pathlib import Path
from typing import Annotated

import typer

import attar
from attar.cli.console import cell, say, write_json


def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A store.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a store holds, how it is coded, and what it takes on disk."""
    with attar.open(folder) as store:
        facts = store.info()
        facts["catalog"] = store.sizes()
    if as_json:
        write_json(facts)
        return
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        shown = (
            ", ".join(f"{k} {cell(v)}" for k, v in value.items())
            if isinstance(value, dict)
            else ("–" if value is None else cell(value))
        )
        say(f"{key:<{width}}  {shown}")
