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


def quick(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    example = ROOT / "examples" / name
    monkeypatch.setattr(sys, "argv", [str(example), "--quick"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(example), run_name="__main__")
    assert done.value.code == 0


def test_questions_to_pdfs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick("pdf_questions.py", monkeypatch)
    said = capsys.readouterr().out
    assert "bytes a vector" in said.splitlines()[0]
    assert said.count(".pdf] ") == 3
    assert said.rstrip().endswith("Question: Does vitamin D change the risk of infections?")


def test_a_chroma_store_is_shrunk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick("shrink_chroma.py", monkeypatch)
    said = capsys.readouterr().out
    assert said.startswith("100 documents, waterfill@16x, overlap@10 0.")
    assert "x smaller" in said


def test_the_notebook_of_the_planner(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples" / "planner.ipynb", as_version=4)
    done = NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    printed = [o.get("text", "") for c in done.cells for o in c.get("outputs", [])]
    assert any("waterfill@8x" in text for text in printed)
    assert any("digit-" in text for text in printed)


def test_stationary_models_stay_compatible(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Handwritten digits, few steps: the fixed classifier and its loss against replay."""
    quick("stationary.py", monkeypatch)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    found = {line[0]: (float(line[2]), float(line[4])) for line in lines}
    assert set(found) == {"replay", "simplex", "hoc"}
    assert found["hoc"][0] >= found["replay"][0] and found["hoc"][1] > found["replay"][1] + 10
