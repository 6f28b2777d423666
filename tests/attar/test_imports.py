"""Importing attar has no effect and needs nothing heavy."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "sentence_transformers", "timm", "open_clip", "umap", "sklearn"}


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(out.stdout.splitlines()[-1]))


def test_import_attar_loads_almost_nothing() -> None:
    extra = modules_after("import attar") - modules_after("pass")
    assert "attar" in extra
    assert not extra & {*HEAVY, "numpy", "faiss", "typer", "rich", "sqlite3"}
    assert len(extra) < 30


def test_codecs_and_stores_do_not_import_torch() -> None:
    statement = "import attar; attar.codec('pca50%+float8_e4m3'); attar.Store; attar.open"
    assert not modules_after(statement) & HEAVY


@pytest.mark.parametrize("room", ["retrieval", "stores", "vision", "context"])
def test_importing_a_room_sets_no_logger_and_loads_no_model_library(room: str) -> None:
    loaded = modules_after(f"import attar.{room}")
    assert not loaded & HEAVY


def test_unknown_name_is_an_attribute_error_that_lists_the_names() -> None:
    import attar

    with pytest.raises(AttributeError, match="codec"):
        attar.nothing  # noqa: B018
