"""`attar search`, `info`, `evaluate`: on a slice of a real collection, by the default encoder."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import attar
from tests.attar.commands import attar_command

SCIFACT = Path(__file__).parents[2] / "examples" / "data" / "scifact"
QUERIES = 12
HASHED = "tests.attar.hashed:embed"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The abstracts that the first judged claims are about, and as many others; BEIR layout."""
    folder = tmp_path_factory.mktemp("scifact")
    lines = (SCIFACT / "qrels/test.tsv").read_text().splitlines()[1:]
    judged = [line.split("\t") for line in lines]
    asked = list(dict.fromkeys(row[0] for row in judged))[:QUERIES]
    relevant = {row[1] for row in judged if row[0] in asked}
    with gzip.open(SCIFACT / "corpus.jsonl.gz", "rt") as file:
        documents = [json.loads(line) for line in file]
    others = [d for d in documents if d["_id"] not in relevant][:60]
    kept = [d for d in documents if d["_id"] in relevant] + others
    for document in kept:  # long abstracts cost the most and add nothing here
        document["text"] = document["text"][:300]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in kept))
    (folder / "queries.jsonl.gz").write_bytes((SCIFACT / "queries.jsonl.gz").read_bytes())
    (folder / "qrels").mkdir()
    rows = [row for row in judged if row[0] in asked]
    text = "query-id\tcorpus-id\tscore\n" + "".join("\t".join(row) + "\n" for row in rows)
    (folder / "qrels" / "test.tsv").write_text(text)
    return folder


@pytest.fixture(scope="module")
def index(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("index") / "index"
    done = attar_command(
        "build-index", collection, "--out", out, "--codec", "int8", "--keep-originals"
    )
    assert done.code == 0, done.err
    assert "documents as int8, 386 bytes a vector" in done.out
    return out


def test_search_finds_what_a_document_says(index: Path, collection: Path) -> None:
    document = json.loads((collection / "corpus.jsonl").read_text().splitlines()[0])
    found = json.loads(attar_command("search", index, document["title"], "-k", 3, "--json").out)
    assert len(found) == 3
    assert found[0]["id"] == document["_id"]
    assert found[0]["score"] >= found[1]["score"]
    shown = attar_command("search", index, document["title"], "-k", 1)
    assert document["_id"] in shown.out


def test_info_says_what_it_costs(index: Path) -> None:
    facts = json.loads(attar_command("info", index, "--json").out)
    assert (facts["serving"], facts["bytes_per_vector"], facts["originals"]) == ("int8", 386, True)
    assert facts["catalog"]["texts"] > 1000
    assert "full_text" not in facts["catalog"]
    with attar.open(index, "w") as store:
        store.index_texts()
    shown = attar_command("info", index).out
    assert "bytes_per_vector" in shown
    assert "full_text" in shown


def test_evaluate_measures_against_the_judgements_and_the_originals(
    index: Path, collection: Path
) -> None:
    done = attar_command(
        "evaluate", index, "--queries", collection, "--qrels", collection, "--json"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["queries"] == QUERIES
    assert result["reference"] == "kept originals"
    assert result["overlap@10"]["mean"] > 0.95
    assert (
        0.6
        < result["nDCG@10"]["low"]
        <= result["nDCG@10"]["mean"]
        <= result["nDCG@10"]["high"]
        <= 1
    )
    assert result["bytes"]["1000000"] == 386_000_000 + result["side_bytes"]


def test_evaluate_embeds_the_texts_again_when_asked_and_says_what_it_costs(
    collection: Path, tmp_path: Path
) -> None:
    ask = ("build-index", collection, "--out", tmp_path / "i", "--encoder", HASHED)
    assert attar_command(*ask, "--codec", "int8").code == 0
    judged = ("--queries", collection, "--qrels", collection, "--encoder", HASHED)
    done = attar_command("evaluate", tmp_path / "i", *judged, "--reembed")
    assert done.code == 0, done.err
    assert "texts again" in done.err
    assert "texts embedded again" in done.out
    assert "overlap@10" in done.out


def test_evaluate_with_given_vectors_refuses_those_of_another_corpus(
    index: Path, collection: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "other.npy", np.eye(384, dtype=np.float32))
    done = attar_command(
        "evaluate", index, "--queries", collection, "--qrels", collection,
        "--reference", tmp_path / "other.npy",
    )  # fmt: skip
    assert done.code == 2
    assert "one vector for every document" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("info", "no-such-folder"), "not a folder"),
        (("search", "no-such-folder", "x"), "not a folder"),
        (("build-index", "no-such.jsonl", "--out", "never"), "no-such.jsonl"),
    ],
)
def test_errors_are_one_line_and_exit_code_two(arguments: tuple[str, ...], words: str) -> None:
    done = attar_command(*arguments)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert not Path("never").exists()


def test_a_store_of_bare_vectors_asks_for_an_encoder(tmp_path: Path) -> None:
    with attar.Store.create(tmp_path / "s", "int8") as store:
        store.add(["a"], vectors=np.ones((1, 4)))
    done = attar_command("search", tmp_path / "s", "question")
    assert done.code == 2
    assert "--encoder" in done.err
    assert attar_command("search", tmp_path / "s", "question", "-k", 0).code == 2


def test_a_store_cannot_choose_what_code_runs(tmp_path: Path) -> None:
    encoder = attar.encoder(HASHED)
    with attar.Store.create(tmp_path / "s", "int8", encoder=encoder) as store:
        store.add(["a"], texts=["cold river"])
    done = attar_command("search", tmp_path / "s", "river")
    assert done.code == 2
    assert "type it yourself" in done.err
    again = attar_command("search", tmp_path / "s", "river", "--encoder", HASHED)
    assert again.code == 0, again.err
