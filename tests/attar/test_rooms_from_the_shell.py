"""Verbs of the other rooms: archives, servers as processes, a distillation, all for real."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import attar
from tests.attar.commands import attar_command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    with attar.Store.create(tmp_path / "store", "int8") as store:
        store.add([f"d{i}" for i in range(300)], vectors=x, texts=[f"text {i}" for i in range(300)])
    return tmp_path / "store"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*arguments: object, port: int) -> Iterator[httpx.Client]:
    """`attar ARGUMENTS --port PORT` as a process of its own, until it answers."""
    command = [sys.executable, "-c", "from attar.cli import main; main()"]
    process = subprocess.Popen(
        [*command, *map(str, arguments), "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"ATTAR_API_KEYS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(1200):
                try:
                    client.get("/health")
                    break
                except httpx.ConnectError:
                    if process.poll() is not None:
                        raise AssertionError(process.stderr.read().decode()) from None
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def test_pack_and_unpack_give_the_same_store(folder: Path, tmp_path: Path) -> None:
    done = attar_command("pack", folder, tmp_path / "store.attar")
    assert done.code == 0, done.err
    assert "%" in done.out
    assert attar_command("unpack", tmp_path / "store.attar", tmp_path / "again").code == 0
    with attar.open(folder) as old, attar.open(tmp_path / "again") as new:
        for a, b in zip(old.iter(vectors=True), new.iter(vectors=True), strict=True):
            assert (a.id, a.text, a.vector.tobytes()) == (b.id, b.text, b.vector.tobytes())
    assert attar_command("unpack", tmp_path / "store.attar", tmp_path / "again").code == 2


def test_a_store_is_served(folder: Path) -> None:
    with running("serve", folder, port=free_port()) as client:
        assert client.get("/health").status_code == 200
        assert "attar" in client.get("/").text.lower()


def test_a_server_without_keys_stays_on_this_machine(folder: Path) -> None:
    done = attar_command("serve", folder, "--host", "0.0.0.0")
    assert done.code == 2
    assert "keys" in done.err


def test_the_context_proxy_passes_what_it_does_not_read(folder: Path) -> None:
    with running("serve", folder, port=(upstream := free_port())):
        proxy = ("context", "serve", "--upstream", f"http://127.0.0.1:{upstream}")
        with running(*proxy, "--budget", 4000, port=free_port()) as client:
            assert client.get("/health").status_code == 200
            assert client.get("/attar/stats").status_code == 200


def test_the_context_proxy_keeps_originals_and_they_are_purged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "originals.sqlite"
    old = {"role": "user", "content": "Pump seven is fine today. " * 300}
    rest = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "and now?"}]
    body = {"messages": [old, *rest]}
    with running("serve", folder, port=(upstream := free_port())):
        proxy = ("context", "serve", "--upstream", f"http://127.0.0.1:{upstream}")
        options = ("--budget", 1000, "--originals", file, "--ttl", 600, "--prices", "3,0.3")
        with running(*proxy, *options, port=free_port()) as client:
            for key in ("one", "two"):
                headers = {"authorization": f"Bearer {key}"}
                got = client.post("/v1/chat/completions", json=body, headers=headers).headers
                assert float(got["x-attar-compression"]) > 2 and float(got["x-attar-money"]) > 0
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("ATTAR_TEST_KEY", "Bearer one")
    assert "0 originals" in attar_command("context", "purge", file, "--expired").out
    one = attar_command("context", "purge", file, "--key", "Authorization=ATTAR_TEST_KEY")
    assert "1 originals" in one.out, one.err
    other = attar_command("context", "purge", file, "--conversation", "none")
    assert "0 originals" in other.out
    talk = ("--conversation", got["x-attar-conversation"])
    assert "1 originals" in attar_command("context", "purge", file, *talk).out
    assert "0 originals" in attar_command("context", "purge", file).out
    for bad in ("Accept=ATTAR_TEST_KEY", "Authorization=ATTAR_NO_SUCH", "Authorization"):
        refused = attar_command("context", "purge", file, "--key", bad)
        assert refused.code == 2 and "HEADER=VARIABLE" in refused.err
    missing = attar_command("context", "purge", tmp_path / "none.sqlite")
    assert missing.code == 2 and not (tmp_path / "none.sqlite").exists()
    assert attar_command("context", "serve", "--upstream", "http://x", "--budget", 9,
                         "--prices", "3").code == 2  # fmt: skip


def test_a_student_is_distilled_from_a_folder_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(2):
        pixels = rng.integers(0, 255, (40, 56, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    done = attar_command(
        "vision", "distill", tmp_path, "--model", "timm:vit_tiny_patch16_224/random",
        "--out", tmp_path / "student", "--epochs", 1, "--batch", 2, "--views", 2,
        "--registers", 2, "--side", 64, "--clip", "--lr", 1e-5, "--start", "patches",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "student" / "model.safetensors").is_file()
    recipe = json.loads((tmp_path / "student" / "config.json").read_text())["recipe"]
    wanted = {"dense": "clip", "lr": 1e-5, "lr_end": 1e-5 / 20, "start": "patches", "m": 2}
    assert {key: recipe[key] for key in wanted} == wanted
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = attar_command(
        "vision", "distill", empty, "--model", "timm:vit_tiny_patch16_224/random",
        "--out", tmp_path / "o",
    )  # fmt: skip
    assert refused.code == 2
    assert "must hold images" in refused.err
