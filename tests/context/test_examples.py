"""Examples of this room run as they stand."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("context_middleware.py", "its original is kept as"),
        ("context_proxy.py", "The code is QX-4471."),
        ("context_compllm.py", "cache hits 10, misses 10"),
        ("context_hybrid.py", "raw"),
    ],
)
def test_an_example_runs(name, said, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert said in capsys.readouterr().out
