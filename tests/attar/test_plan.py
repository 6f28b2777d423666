"""`attar plan` and `attar compare`, as people type them."""

import json
import shlex
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from attar.retrieval.evaluation.schema import SCHEMA
from tests.attar.commands import attar_command
from tests.retrieval.planner.clusters import draw

CODECS = "float32,int8,waterfill@8x,waterfill@16x"
N = 1500


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents x.npy, queries q.npy, judgements: query i wants its nearest document."""
    folder = tmp_path_factory.mktemp("vectors")
    x, q = draw(N, 1), draw(60, 2)
    np.save(folder / "x.npy", x)
    np.save(folder / "q.npy", q)
    best = (q @ x.T).argmax(axis=1)
    rows = [f"{i}\t{at}\t1\n" for i, at in enumerate(best)]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return folder


def plan(*arguments: object) -> dict:
    done = attar_command("plan", *arguments, "--codecs", CODECS, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_the_printed_command_builds_what_was_planned(vectors: Path, tmp_path: Path) -> None:
    out, budget = tmp_path / "my index", 40_000
    made = plan(
        vectors / "x.npy", "--budget", "40kB", "--sample", 600, "--out", out, "--seed", 3,
        "--queries", vectors / "q.npy",
    )  # fmt: skip
    chosen = made["chosen"]
    assert chosen["total_bytes"] <= budget
    assert chosen["spec"] in made["front"]
    words = shlex.split(made["command"])
    assert words[:2] == ["attar", "build-index"]
    done = attar_command(*words[1:], "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["n"] == made["total"] == N
    assert facts["serving"] == chosen["spec"]
    assert N * facts["bytes_per_vector"] + facts["side_bytes"] == chosen["total_bytes"]
    assert facts["seed"] == 3


def test_what_is_kept_is_judged_by_the_lower_end(vectors: Path) -> None:
    made = plan(vectors / "x.npy", "--keep", 0.9, "--sample", 600)
    assert made["origin"] == "held-out vectors"
    good = [p for p in made["points"] if p["quality"]["low"] >= 0.9]
    assert made["chosen"] == min(good, key=lambda p: p["total_bytes"])
    assert plan(vectors / "x.npy", "--keep", 1, "--sample", 600)["chosen"]["spec"] == "float32"


def test_ndcg_decides_where_there_are_judgements(vectors: Path) -> None:
    made = plan(
        vectors / "x.npy", "--keep", 0.95, "--of", "ndcg@10", "--sample", 600,
        "--queries", vectors / "q.npy", "--qrels", vectors / "qrels.tsv",
    )  # fmt: skip
    shares = {p["spec"]: p["quality"]["mean"] for p in made["points"]}
    assert shares["float32"] == 1
    assert 0.95 < shares["int8"] <= 1
    assert shares["waterfill@16x"] < shares["int8"]


def test_the_picture_is_written_and_repeats(vectors: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures = []
    for name in ("one", "two"):
        arguments = (vectors / "x.npy", "--keep", 0.9, "--sample", 400)
        made = plan(*arguments, "--picture", tmp_path / name)
        assert [Path(p).suffix for p in made["pictures"]] == [".png", ".svg"]
        pictures.append((tmp_path / f"{name}.svg").read_text())
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert pictures[0] == pictures[1]
    for text in ("Pareto front", "Gaussian rate", f"chosen: {made['chosen']['spec']}"):
        assert f"<!-- {text}" in pictures[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one goal"),
        (("--budget", "1MB", "--keep", "0.9"), "one goal"),
        (("--budget", "10B"), "raise the budget"),
        (("--keep", "0.9", "--of", "ndcg@10"), "--queries and --qrels"),
        (("--keep", "0.9", "--qrels", "none.tsv"), "--of ndcg@10"),
        (("--keep", "0.9", "--codecs", "int8,nonsense"), "Unknown part"),
    ],
)
def test_plans_without_sense_are_refused(
    vectors: Path, arguments: tuple[str, ...], words: str
) -> None:
    extra = () if "--codecs" in arguments else ("--codecs", "int8")
    done = attar_command("plan", vectors / "x.npy", "--sample", 100, *arguments, *extra)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err


def test_compare_prints_a_table_and_the_schema(vectors: Path) -> None:
    arguments = (
        "compare", vectors / "x.npy", "--queries", vectors / "q.npy",
        "--qrels", vectors / "qrels.tsv", "--codecs", "int8,waterfill@32x",
    )  # fmt: skip
    done = attar_command(*arguments, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    jsonschema.validate(result, SCHEMA)
    assert result["float32"]["nDCG@10"] == 1
    assert result["judged"] == 60
    shown = attar_command(*arguments).out
    assert "waterfill@32x" in shown
    assert "Alarm: waterfill@32x: mean: nDCG@10 is below float32" in shown


def test_compare_of_texts_has_the_slices(tmp_path: Path) -> None:
    names = ["river", "stone", "cloud", "ember", "forest", "glass", "harbour", "island"]
    texts = [
        f"the {a} near the {b} {i}"
        for i, (a, b) in enumerate(zip(names * 8, names[::-1] * 8, strict=True))
    ]
    documents = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    asked = [
        json.dumps({"_id": f"q{i}", "text": f"{name} " * (i + 1)}) for i, name in enumerate(names)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(documents))
    (tmp_path / "queries.jsonl").write_text("\n".join(asked))
    np.save(tmp_path / "other.npy", draw(100, 5))
    done = attar_command(
        "compare", tmp_path, "--queries", tmp_path, "--codecs", "int4",
        "--encoder", "tests.attar.hashed:embed", "--other", tmp_path / "other.npy", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    slices = json.loads(done.out)["codecs"][0]["slices"]
    assert {name: part["queries"] for name, part in slices.items()} == {
        "short": 2, "long": 2, "typo": 8, "wrong domain": 8,
    }  # fmt: skip


def test_texts_are_planned_with_pseudo_queries_and_the_command_says_who_embeds(
    tmp_path: Path,
) -> None:
    lines = [
        json.dumps({"_id": f"d{i}", "text": f"Paper {i} is about {i * i}. It has {i} pages."})
        for i in range(300)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    made = plan(
        tmp_path / "corpus.jsonl", "--keep", 0.5, "--sample", 200, "--ask", 40,
        "--encoder", "tests.attar.hashed:embed",
    )  # fmt: skip
    assert (made["total"], made["sample"], made["queries"]) == (300, 200, 30)
    assert made["origin"] == "sentences of held-out documents"
    assert made["command"].endswith("--encoder tests.attar.hashed:embed")
