"""Imports run stores <- retrieval <- context; vision stands alone; the door imports them all."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("stores", "retrieval", "context", "vision")
MAY_IMPORT = {
    "stores": {"stores"},
    "retrieval": {"retrieval", "stores"},
    "context": {"context", "retrieval", "stores"},
    "vision": {"vision"},
}


def attar_imports(source: str) -> set[str]:
    """What a file imports of attar: a room's name, or "door" for anything in the front door."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in names):
            if parts[0] == "attar":
                found.add(parts[1] if len(parts) > 1 and parts[1] in ROOMS else "door")
            elif parts[0] in ROOMS:
                found.add(f"bare {parts[0]}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_along_the_arrows_only(room: str) -> None:
    wrong = {
        str(file.relative_to(ROOT)): extra
        for file in (ROOT / room).rglob("*.py")
        if (extra := attar_imports(file.read_text()) - MAY_IMPORT[room])
    }
    assert not wrong


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("import attar.retrieval.codec", "retrieval"),
        ("from attar.vision import tokens", "vision"),
        ("from attar import stores", "stores"),
        ("from attar import codec", "door"),
        ("import attar", "door"),
        ("def f():\n    from retrieval import codec", "bare retrieval"),
    ],
)
def test_the_walk_sees_every_way_to_import(line: str, seen: str) -> None:
    assert attar_imports(line) == {seen}
