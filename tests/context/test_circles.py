"""Modules of this room import each other without circles, imports for type checkers included."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "context"


def graph(files):
    """Module -> the modules of `files` that it imports, wherever the import stands."""
    found = {}
    for name, source in files.items():
        nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
        names = {n.module for n in nodes} | {f"{n.module}.{a.name}" for n in nodes for a in n.names}
        found[name] = names & files.keys()
    return found


def test_there_is_no_circle():
    files = {}
    for file in ROOM.rglob("*.py"):
        parts = file.relative_to(ROOM.parent).with_suffix("").parts
        files[".".join(("attar", *parts)).removesuffix(".__init__")] = file.read_text()
    assert len(files) > 40
    TopologicalSorter(graph(files)).prepare()


def test_the_walk_sees_a_circle():
    files = {"a.b": "if T:\n    from a.c import x", "a.c": "def f():\n    from a import b"}
    with pytest.raises(CycleError):
        TopologicalSorter(graph(files)).prepare()
