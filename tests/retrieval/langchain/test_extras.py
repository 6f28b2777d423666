"""A framework that is not installed: the error names the command."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [
        ("langchain_core", "attar.retrieval.langchain", "langchain"),
        ("llama_index", "attar.retrieval.llamaindex", "llamaindex"),
        ("haystack", "attar.retrieval.haystack", "haystack"),
    ],
)
def test_missing_framework(package: str, module: str, extra: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; import {module}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'attar[{extra}]'" in run.stderr
    assert run.returncode == 1
