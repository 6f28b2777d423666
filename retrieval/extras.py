"""Packages of an extra are imported where they are used; a missing one says how to get it."""

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import `module`, which the extra `extra` installs; ModuleNotFoundError names the command."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is there but lacks a part of its own must report that part, not the extra.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"The package {module.split('.')[0]!r} is needed here and is not installed; "
            f"run: pip install 'attar[{extra}]'",
            name=error.name,
        ) from error
