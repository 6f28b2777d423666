"""`shrink`: what it keeps, what it says, going on after an interruption; the way to faiss."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
from typer.testing import CliRunner

import attar
from attar.cli.app import app
from attar.retrieval.interchange import export_faiss, open_collection, shrink
from attar.stores.transfer.rows import Rows
from tests.retrieval.interchange import peers


def test_a_chroma_folder_becomes_a_store(tmp_path: Path) -> None:
    held = open_collection(peers.make_chroma(tmp_path / "chroma"))
    done = shrink(held, tmp_path / "out", "waterfill@8x")
    x = peers.vectors()
    with attar.open(tmp_path / "out") as store:
        assert {r.id: (r.text, r.metadata) for r in store.iter()} == {
            i: (t, m) for i, t, m in zip(peers.IDS, peers.TEXTS, peers.NOTES, strict=True)
        }
        assert store.info()["serving"] == "waterfill@8x"
        assert store.metric == "cosine"
        truth = np.argsort(-(x[:50] @ x.T), axis=1)[:, :11]
        found = store.search(x[:50], 11).ids
        kept = np.mean(
            [
                len({f"d{i}" for i in t} & set(f) - {f"d{q}"}) / 10
                for q, (t, f) in enumerate(zip(truth, found, strict=True))
            ]
        )
    assert done.overlap == pytest.approx(kept, abs=0.05)
    assert 0.5 < done.overlap < 1
    assert done.vectors_smaller == held.vector_bytes / done.vector_bytes > 4
    assert done.documents == peers.COUNT


def test_float32_keeps_everything(tmp_path: Path) -> None:
    for metric in ("cosine", "ip", "l2"):
        held = open_collection(peers.make_npy(tmp_path / "v.npy"), metric=metric)
        assert shrink(held, tmp_path / metric, "float32").overlap == 1.0


def test_an_interrupted_call_goes_on(tmp_path: Path) -> None:
    held = open_collection(peers.make_parquet(tmp_path / "p.parquet"))
    asked: list[int] = []

    def read(start: int) -> Iterator[Rows]:
        asked.append(start)
        for number, rows in enumerate(held.read(start)):
            if number == 1 and len(asked) == 1:
                raise KeyboardInterrupt
            yield rows

    broken = dataclasses.replace(held, read=read)
    with pytest.raises(KeyboardInterrupt):
        shrink(broken, tmp_path / "out", "int8")
    assert shrink(broken, tmp_path / "out", "int8").documents == peers.COUNT
    assert asked[1] == 1000
    with pytest.raises(ValueError, match=r"was made of .*int8.*, not of .*binary"):
        shrink(held, tmp_path / "out", "binary")
    with attar.Store.create(tmp_path / "other", "int8"):
        pass
    with pytest.raises(ValueError, match="was made of None"):
        shrink(held, tmp_path / "other", "int8")


@pytest.mark.parametrize("codec", ["float32", "pca50%+int8", "waterfill@8x"])
@pytest.mark.parametrize("form", ["float32", "fp16", "8bit"])
def test_faiss_searches_a_store(codec: str, form: str, tmp_path: Path) -> None:
    shrink(open_collection(peers.make_npy(tmp_path / "v.npy")), tmp_path / "s", codec)
    q = peers.vectors()[:40] + np.random.default_rng(1).standard_normal((40, peers.DIM)) * 0.05
    q = (q / np.linalg.norm(q, axis=1, keepdims=True)).astype(np.float32)
    with attar.open(tmp_path / "s") as store:
        export_faiss(store, tmp_path / "faiss", form)
        want = store.search(q, 10)
    names = json.loads((tmp_path / "faiss" / "ids.json").read_text())
    index = faiss.read_index(str(tmp_path / "faiss" / "index.faiss"))
    scores, rows = index.search(q, 10)
    got = [[names[i] for i in row] for row in rows]
    overlap = np.mean([len(set(g) & set(w)) / 10 for g, w in zip(got, want.ids, strict=True)])
    assert overlap > (0.97 if form == "8bit" else 0.995)
    np.testing.assert_allclose(scores, want.scores, atol=0.02 if form == "8bit" else 1e-3)


def test_an_export_to_faiss_is_refused_where_it_would_lie(tmp_path: Path) -> None:
    with attar.Store.create(tmp_path / "s", "float32", metric="l2") as store:
        store.add(["a"], [[1.0, 2.0]])
        with pytest.raises(ValueError, match="metric l2"):
            export_faiss(store, tmp_path / "faiss")
    with attar.Store.create(tmp_path / "t", "float32") as store:
        with pytest.raises(ValueError, match="0 and the metric|has 0"):
            export_faiss(store, tmp_path / "faiss")
        store.add(["a"], [[1.0, 2.0]])
        with pytest.raises(ValueError, match="form is one of"):
            export_faiss(store, tmp_path / "faiss", "int3")
        with pytest.raises(ValueError, match="between 1 and 2, got 3"):
            export_faiss(store, tmp_path / "faiss", dims=3)


def test_the_command_says_what_it_saved(tmp_path: Path) -> None:
    source = peers.make_chroma(tmp_path / "chroma")
    command = ["shrink", str(source), "--out", str(tmp_path / "out"), "--codec", "waterfill@8x"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert "1,500 documents of chroma (docs), 48 dimensions" in said.output
    assert "x smaller)" in said.output
    again = CliRunner().invoke(app, [*command, "--json"])
    facts = json.loads(again.output)
    assert facts["documents"] == 1500
    assert f"{facts['vectors_smaller']:.1f}x smaller" in said.output
    assert f"{facts['overlap']:.3f}" in said.output
