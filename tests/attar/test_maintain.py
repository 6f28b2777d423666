"""The verbs that look after a store: what they print, what they return, what they leave."""

import json
from pathlib import Path

import numpy as np
import pytest

import attar
from tests.attar.commands import attar_command

N, DIM = 400, 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
    with attar.Store.create(tmp_path / "store", "int8") as store:
        store.add([f"d{i}" for i in range(N)], vectors=x, texts=[f"text {i}" for i in range(N)])
    return tmp_path / "store"


def test_verify_says_whole_and_finds_a_flipped_bit_and_repair_names_the_lost(folder: Path) -> None:
    assert attar_command("verify", folder).code == 0
    segment = next((folder / "segments").glob("*.seg"))
    content = bytearray(segment.read_bytes())
    content[-100] ^= 4
    segment.write_bytes(content)
    broken = attar_command("verify", folder, "--json")
    assert broken.code == 1
    assert not json.loads(broken.out)["whole"]
    mended = json.loads(attar_command("repair", folder, "--json").out)
    assert mended["kept"] + len(mended["lost_ids"]) == N
    assert mended["lost_ids"]
    assert attar_command("verify", folder).code == 0


def test_backup_is_a_store_and_never_replaces(folder: Path, tmp_path: Path) -> None:
    assert attar_command("backup", folder, tmp_path / "copy").code == 0
    with attar.open(tmp_path / "copy") as copy:
        assert len(copy) == N
    assert attar_command("backup", folder, tmp_path / "copy").code == 2


@pytest.mark.parametrize("form", ["npy", "safetensors", "parquet"])
def test_export_and_import_come_back(folder: Path, tmp_path: Path, form: str) -> None:
    assert attar_command("export", folder, tmp_path / "out", "--form", form).code == 0
    done = attar_command(
        "import", tmp_path / "out", "--out", tmp_path / "again", "--codec", "float32"
    )
    assert done.code == 0, done.err
    with attar.open(folder) as old, attar.open(tmp_path / "again") as new:
        assert [r.id for r in old.iter()] == [r.id for r in new.iter()]
        assert [r.text for r in old.iter()] == [r.text for r in new.iter()]
        ids = ["d3", "d77"]
        a, b = old.vectors(ids), new.vectors(ids)
        a /= np.linalg.norm(a, axis=1, keepdims=True)
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_reencode_changes_the_codec_in_place(folder: Path) -> None:
    done = attar_command("reencode", folder, "--codec", "pca50%+int8")
    assert done.code == 0, done.err
    assert "encoded as pca50%+int8" in done.out
    with attar.open(folder) as store:
        assert (len(store), store.info()["serving"]) == (N, "pca50%+int8")
