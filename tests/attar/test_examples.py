"""What README and examples show runs as it stands."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [
    "Vitamin D supplements did not prevent influenza in a randomised trial.",
    "Statins lower cholesterol in older adults.",
    "MicroRNAs regulate metastasis of breast cancer cells.",
    "Aspirin reduces the risk of a second stroke.",
]


def test_the_code_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "README.md", "exec"), {"texts": TEXTS, "ids": ["d", "s", "m", "a"]})
    best = capsys.readouterr().out.splitlines()[0]
    assert best.endswith("  d")


def test_build_index_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (json.dumps({"_id": f"t{i}", "text": text}) for i, text in enumerate(TEXTS))
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    example = ROOT / "examples" / "build_index.py"
    arguments = [str(example), str(tmp_path / "corpus.jsonl"), str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.startswith("4 documents, 192 bytes a vector")
