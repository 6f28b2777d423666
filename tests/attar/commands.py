"""Running the command line inside the test's process: what it prints and its exit code."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from attar.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def attar_command(*arguments: object) -> Outcome:
    """`attar ARGUMENTS`, exactly as the entry point runs it."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.object(sys, "argv", ["attar", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Outcome(int(code or 0), out.getvalue(), err.getvalue())
