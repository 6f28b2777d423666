"""A store goes into one file and comes back byte for byte."""

from pathlib import Path

import numpy as np
import pytest

import attar
from attar.retrieval.archive import pack, unpack
from tests.retrieval.waterfill.test_waterfill import embeddings


def make_store(path: Path, spec: str, n: int = 700) -> np.ndarray:
    x = embeddings(n)
    with attar.Store.create(path, codec=spec, train_at=200) as store:
        for start in range(0, n, 250):
            rows = range(start, min(start + 250, n))
            texts = [f"document {i}" for i in rows]
            store.add([str(i) for i in rows], vectors=x[rows.start : rows.stop], texts=texts)
        store.delete(["3", "300"])
    return x


@pytest.mark.parametrize("spec", ["waterfill@8x", "waterfill:ec@8x", "pca50%+float8_e4m3"])
def test_every_file_comes_back(tmp_path: Path, spec: str) -> None:
    x = make_store(tmp_path / "store", spec)
    report = pack(tmp_path / "store", tmp_path / "store.attar")
    unpack(tmp_path / "store.attar", tmp_path / "again")
    files = [p for p in (tmp_path / "store").rglob("*") if p.is_file() and p.name != "writer.lock"]
    assert len(files) >= 4
    for path in files:
        again = tmp_path / "again" / path.relative_to(tmp_path / "store")
        assert again.read_bytes() == path.read_bytes()
    assert report.archive_bytes == (tmp_path / "store.attar").stat().st_size
    assert report.archive_bytes < 0.8 * report.store_bytes
    with attar.open(tmp_path / "store") as a, attar.open(tmp_path / "again") as b:
        wanted, got = a.search(x[:5], k=5), b.search(x[:5], k=5)
        assert (wanted.ids == got.ids).all()
        assert (wanted.scores == got.scores).all()


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    make_store(tmp_path / "store", "int8", 60)
    archive = tmp_path / "a.attar"
    pack(tmp_path / "store", archive)
    with pytest.raises(FileExistsError, match=r"a\.attar exists"):
        pack(tmp_path / "store", archive)
    with pytest.raises(FileExistsError, match="store exists"):
        unpack(archive, tmp_path / "store")
    with pytest.raises(ValueError, match="not a store"):
        pack(tmp_path, tmp_path / "b.attar")
    content = bytearray(archive.read_bytes())
    for place in (3, 30, len(content) // 2, len(content) - 5):
        broken = bytearray(content)
        broken[place] ^= 0x40
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(ValueError, match="archive"):
            unpack(tmp_path / "broken", tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_store_that_is_being_written_is_refused(tmp_path: Path) -> None:
    with attar.Store.create(tmp_path / "store", codec="int8") as store:
        store.add(["a"], vectors=embeddings(1))
        with pytest.raises(ValueError, match="close the writer"):
            pack(tmp_path / "store", tmp_path / "a.attar")
