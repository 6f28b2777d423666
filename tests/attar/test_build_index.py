"""`attar build-index`: resumable at any moment, refusing what it was not asked, on real files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attar
from attar.retrieval.indexing import build
from attar.retrieval.indexing.build import Wiring, open_or_create, plan_build, run_build
from attar.retrieval.sources import read_source
from tests.attar.commands import attar_command

ROOT = Path(__file__).parents[2]
ENCODER = "tests.attar.hashed:embed"
WIRING = Wiring(attar.Store.create, attar.Store.open)


def corpus(path: Path, n: int) -> Path:
    lines = (json.dumps({"_id": f"d{i}", "text": f"d{i} {words(i)}"}) for i in range(n))
    path.write_text("\n".join(lines) + "\n")
    return path


def words(i: int) -> str:
    pick = random.Random(i)
    return " ".join(
        pick.choice("cold river stone light music garden engine".split()) for _ in "123456"
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from attar.cli import main; main()", *arguments]


def contents(path: Path) -> dict[str, tuple[str | None, bytes]]:
    with attar.open(path) as store:
        return {r.id: (r.text, r.vector.tobytes()) for r in store.iter(vectors=True)}


def planned(source: Path, out: Path, spec: str = "pca50%+int8") -> Any:
    return plan_build(read_source(source), out, attar.codec(spec), attar.encoder(ENCODER))


def test_killed_three_times_it_continues_and_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, trace = corpus(tmp_path / "c.jsonl", 7_000), tmp_path / "killed", tmp_path / "t"
    arguments = ("build-index", str(source), "--out", str(out), "--encoder", ENCODER)
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ATTAR_TEST_SLOW": "0.05",
        "ATTAR_TEST_TRACE": str(trace),
    }
    kills, pick = 0, random.Random(5)
    while kills < 3:
        seen = trace.stat().st_size if trace.exists() else 0
        process = subprocess.Popen(command(*arguments), cwd=ROOT, env=env, stderr=subprocess.PIPE)
        while process.poll() is None and (not trace.exists() or trace.stat().st_size == seen):
            time.sleep(0.01)
        time.sleep(pick.uniform(0, 0.8))
        assert process.poll() is None, process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    monkeypatch.setenv("ATTAR_TEST_TRACE", str(trace))
    done = attar_command(*arguments)
    assert done.code == 0, done.err
    expected = {f"d{i}" for i in range(7_000)}
    with attar.open(out) as store:
        assert sorted(record.id for record in store.iter()) == sorted(f"d{i}" for i in range(7_000))
        assert store.info()["serving"] == "waterfill@8x"
    embedded = Counter(line for line in trace.read_text().splitlines() if line[1:].isdigit())
    assert set(embedded) >= expected
    again = sum(count - 1 for count in embedded.values())
    assert again <= kills * build.BATCH, "only the batch under way at a kill is embedded again"
    whole = attar_command(*arguments[:3], tmp_path / "whole", *arguments[4:])
    assert whole.code == 0, whole.err
    assert contents(out) == contents(tmp_path / "whole")


def test_a_sampled_build_embeds_once_and_fits_on_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("ATTAR_TEST_TRACE", str(trace))
    monkeypatch.setattr(build, "BATCH", 64)
    source, out = corpus(tmp_path / "c.jsonl", 700), tmp_path / "out"
    original = build.Sample
    monkeypatch.setattr(build, "Sample", lambda ids, seed: original(ids, seed, limit=200))
    plan = planned(source, out)
    assert (plan.sample.size, plan.total) == (200, 700)
    with open_or_create(plan, WIRING) as store:
        run_build(plan, store)
        assert len(store) == 700
        assert store.info()["serving"] == "pca50%+int8"
        records = list(store.iter())
    assert all(record.id in plan.sample for record in records[:200])
    assert not any(record.id in plan.sample for record in records[200:])
    embedded = Counter(line for line in trace.read_text().splitlines() if line[1:].isdigit())
    assert {embedded[f"d{i}"] for i in range(700)} == {1}


def test_finished_other_and_foreign_folders_are_refused_untouched(tmp_path: Path) -> None:
    source, out = corpus(tmp_path / "c.jsonl", 90), tmp_path / "out"
    ask = ("build-index", str(source), "--out", str(out), "--encoder", ENCODER)
    assert attar_command(*ask, "--codec", "int8").code == 0
    before = contents(out)
    finished = attar_command(*ask, "--codec", "int8")
    assert finished.code == 2
    assert "finished" in finished.err
    other = attar_command(*ask, "--codec", "float16")
    assert other.code == 2
    assert "codec: 'int8' there, 'float16' asked" in other.err
    source.write_text(source.read_text().replace("river", "lake"))
    changed = attar_command(*ask, "--codec", "int8")
    assert "source_hash" in changed.err
    assert contents(out) == before
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("keep me")
    refused = attar_command("build-index", str(source), "--out", str(foreign), "--encoder", ENCODER)
    assert refused.code == 2
    assert "not a store" in refused.err or "A store is" in refused.err
    assert [p.name for p in foreign.iterdir()] == ["mine.txt"]
    assert attar_command(*ask, "--codec", "float16", "--overwrite").code == 0
    with attar.open(out) as store:
        assert store.info()["spec"] == "float16"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"_id": "a", "text": "x"}\nnot json\n', ["c.jsonl", "2"]),
        ('{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', ["'a'"]),
        ('{"_id": 7, "text": "x"}\n', ["7"]),
        ("", ["at least one"]),
    ],
)
def test_bad_corpora_are_refused_before_anything_is_written(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    (tmp_path / "c.jsonl").write_text(content)
    with pytest.raises(ValueError) as caught:
        planned(tmp_path / "c.jsonl", tmp_path / "out")
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_vectors_are_fitted_on_their_sample_and_streamed(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 24)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.ids.json").write_text(json.dumps([f"v{i}" for i in range(300)]))
    out = tmp_path / "out"
    done = attar_command(
        "build-index", str(tmp_path / "x.npy"), "--out", str(out), "--codec", "pca50%+int8",
        "--ids", str(tmp_path / "x.ids.json"), "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["n"], facts["serving"], facts["bytes_per_vector"]) == (300, "pca50%+int8", 14)
    with attar.open(out) as store:
        assert store.search(x[5], k=1).ids[0, 0] == "v5"
    x[17] = 0
    np.save(tmp_path / "z.npy", x)
    with pytest.raises(ValueError, match="'17'"):
        plan_build(read_source(tmp_path / "z.npy"), tmp_path / "o", attar.codec("int8"), None)


def test_a_corpus_too_small_to_fit_stays_float32_and_says_so(tmp_path: Path) -> None:
    source = corpus(tmp_path / "c.jsonl", 5)
    done = attar_command(
        "build-index", source, "--out", tmp_path / "o", "--encoder", ENCODER,
        "--codec", "pca50%+int8",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "fitted on 24 documents" in done.out
    with attar.open(tmp_path / "o") as store:
        assert (len(store), store.info()["serving"]) == (5, "float32")
