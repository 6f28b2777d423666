"""Builds of several batches and two phases from a corpus of a few hundred documents."""

import json
import random
from pathlib import Path

import pytest

from attar.retrieval.indexing import build
from tests.retrieval.indexing.worlds import BATCH, COUNT, SAMPLE


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    original = build.Sample
    monkeypatch.setattr(build, "BATCH", BATCH)
    monkeypatch.setattr(build, "ROWS", BATCH)
    monkeypatch.setattr(build, "Sample", lambda ids, seed: original(ids, seed, limit=SAMPLE))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    pick = random.Random(3)
    lines = []
    for i in range(COUNT):
        words = pick.choices("cold river stone light music garden engine".split(), k=12)
        lines.append(json.dumps({"_id": f"d{i}", "text": " ".join(words), "year": i % 7}))
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "c.jsonl"
