"""The reproduction example runs, and its ladders lead where its page says."""

import json
from pathlib import Path

import numpy as np
import pytest

from examples import reproduce_float8_pca as example
from tests.retrieval.codecs.methods import documents


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    x, q = documents(300, 64), documents(40, 64, seed=1)
    best = np.argmax(q @ x.T, axis=1)
    data = example.Data(
        "made",
        x,
        q,
        documents(200, 64, seed=2),
        [f"d{n}" for n in range(len(x))],
        [f"q{n}" for n in range(len(q))],
        {f"q{n}": {f"d{document}": 1} for n, document in enumerate(best)},
    )
    return list(example.measure(data, example.LADDERS))


def test_every_step_has_a_row_and_float32_is_exact(rows: list[dict[str, object]]) -> None:
    assert len(rows) == 1 + sum(len(steps) for steps in example.LADDERS.values())
    assert rows[0]["overlap@10"] == 1 and rows[0]["nDCG@10"] == 1


def test_the_last_step_keeps_more_than_the_first(rows: list[dict[str, object]]) -> None:
    for method in ("int8", "float4 e2m1", "binary", "PCA 50 %", "PCA 50 % + float8"):
        overlaps = [row["overlap@10"] for row in rows if row["method"] == method]
        assert overlaps[-1] > overlaps[0] + 0.05, method


def test_the_page_holds_the_numbers_of_the_result(
    rows: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    marks = "".join(f"<!-- {n} -->\nold\n<!-- end {n} -->\nkept\n" for n in ("overlap", "ndcg"))
    page.write_text(marks)
    monkeypatch.setattr(example, "PAGE", page)
    monkeypatch.setattr(example, "RESULT", tmp_path / "result.json")
    example.write_result(rows)
    assert json.loads((tmp_path / "result.json").read_text())["rows"] == rows
    example.write_page()
    text = page.read_text()
    assert "old" not in text and text.count("kept") == 2
    for row in rows:
        assert f"{row['overlap@10']:.3f}" in text
