"""`attar.RemoteStore` over real servers: exact, partial when asked, loud otherwise."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

import attar
from attar.remote import ShardError
from attar.retrieval.encoders import PythonCallable
from attar.server import Settings, create_app
from attar.stores.errors import EncoderMismatchError, StoreError
from attar.stores.shards import ShardGroup, split
from tests.attar.commands import attar_command
from tests.attar.hashed import broken, embed
from tests.stores.shards.test_shards import DIM, made, same, vectors

Q = np.random.default_rng(2).standard_normal((4, DIM)).astype(np.float32)


class Running:
    """Servers of this process on ports of their own."""

    def __init__(self) -> None:
        self._servers: dict[str, tuple[uvicorn.Server, threading.Thread]] = {}

    def start(self, store: Any, **settings: Any) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = uvicorn.Config(
            create_app(store, Settings(**settings)), port=port, log_level="error", workers=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 30
        while time.monotonic() < end and not server.started:
            time.sleep(0.01)
        self._servers[url] = (server, thread)
        return url

    def stop(self, url: str) -> None:
        server, thread = self._servers.pop(url)
        server.should_exit = True
        thread.join(30)

    def stop_all(self) -> None:
        for url in list(self._servers):
            self.stop(url)


@pytest.fixture
def running() -> Iterator[Running]:
    servers = Running()
    yield servers
    servers.stop_all()


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def whole(tmp_path: Path, opened: contextlib.ExitStack) -> attar.Store:
    return opened.enter_context(attar.open(made(tmp_path / "s")))


@pytest.fixture
def shards(
    whole: attar.Store, tmp_path: Path, running: Running, opened: contextlib.ExitStack
) -> list[str]:
    """Three shards; the last server has two of four parts as a group."""
    paths = split(whole, tmp_path / "shards", 4)
    stores = [opened.enter_context(attar.open(path)) for path in paths]
    return [
        running.start(stores[0]),
        running.start(stores[1]),
        running.start(ShardGroup(stores[2:])),
    ]


def test_it_answers_as_one_store(whole: attar.Store, shards: list[str]) -> None:
    with attar.RemoteStore(shards) as remote:
        assert len(remote) == len(whole) == remote.info()["n"]
        for options in (
            {"k": 10},
            {"k": 700},
            {"k": 4, "offset": 6},
            {"k": 20, "filter": {"year": {"$in": [1991, 2003]}}},
            {"k": 20, "min_score": float(whole.search(Q[:1], 9).scores[0, -1])},
        ):
            got = remote.search(Q, **options)
            same(got, whole.search(Q, **options))
            assert got.missing == ()
        same(remote.search(Q[0], 3), whole.search(Q[0], 3))
        assert remote.get(["d499", "d7", "d2"]) == whole.get(["d499", "d7", "d2"])


def test_a_dead_shard_is_an_error_or_said(
    whole: attar.Store, shards: list[str], running: Running
) -> None:
    with attar.RemoteStore(shards) as strict, attar.RemoteStore(shards, partial=True) as lax:
        before = lax.search(Q, 10)
        running.stop(shards[1])
        with pytest.raises(ShardError, match=f"{shards[1]} does not answer"):
            strict.search(Q, 10)
        got = lax.search(Q, 10)
        assert got.missing == (shards[1],)
        assert before.missing == ()
        alive = {record.id for record in lax.get([f"d{i}" for i in range(500)])}
        want = [[name for name in row if name in alive] for row in whole.search(Q, 500).ids]
        assert got.ids.tolist() == [row[:10] for row in want]
        for url in (shards[0], shards[2]):
            running.stop(url)
        with pytest.raises(ShardError, match="None of the 3 shards"):
            lax.search(Q, 10)
    with pytest.raises(ShardError, match="does not answer"):
        attar.RemoteStore(shards)


def test_codecs_are_compared_at_the_start_and_at_every_answer(
    tmp_path: Path, running: Running, opened: contextlib.ExitStack
) -> None:
    one = opened.enter_context(attar.open(made(tmp_path / "a"), "w"))
    other = opened.enter_context(attar.open(made(tmp_path / "b", "int8")))
    urls = [running.start(one), running.start(other)]
    with pytest.raises(StoreError, match="Shards have one serving"):
        attar.RemoteStore(urls)
    with attar.RemoteStore(urls[:1]) as remote:
        remote.search(Q, 3)
        one.reencode(attar.codec("int8"))
        with pytest.raises(StoreError, match="now has the codec"):
            remote.search(Q, 3)


def test_keys_texts_and_arguments(
    tmp_path: Path, running: Running, opened: contextlib.ExitStack
) -> None:
    encoder = PythonCallable(embed, name="hashed", fingerprint="hashed")
    path = tmp_path / "texts"
    with attar.Store.create(path, "int8", encoder) as store:
        store.add(["a", "b"], texts=["cold river", "stone garden"])
    url = running.start(
        opened.enter_context(attar.open(path, encoder=encoder)), api_keys=("secret",)
    )
    with pytest.raises(PermissionError, match="api_key"):
        attar.RemoteStore([url])
    for attached in (None, encoder):
        with attar.RemoteStore([url], api_key="secret", encoder=attached) as remote:
            assert remote.search(text="cold river", k=1).ids.tolist() == [["a"]]
            with pytest.raises(ValueError, match="vector or text, one of them"):
                remote.search()
            with pytest.raises(ValueError, match="answered by one store only"):
                remote.search(text="a", alpha=0.5)
            with pytest.raises(ValueError, match="does not know exact"):
                remote.search(text="a", exact=False)
            with pytest.raises(ValueError, match=r"\$bad"):
                remote.search(text="a", filter={"year": {"$bad": 1}})
    foreign = PythonCallable(broken, name="other", fingerprint="other")
    with pytest.raises(EncoderMismatchError):
        attar.RemoteStore([url], api_key="secret", encoder=foreign)
    for urls in ([], url, [url, url]):
        with pytest.raises(ValueError, match="list of different servers"):
            attar.RemoteStore(urls)


def test_a_server_that_fails_is_a_dead_shard(
    whole: attar.Store, shards: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with attar.RemoteStore(shards) as remote:
        real = remote._client.request

        def broken(method: str, url: str, **more: Any) -> httpx.Response:
            if url.startswith(shards[0]):
                return httpx.Response(500, json={"error": "segment damaged"})
            return real(method, url, **more)

        monkeypatch.setattr(remote._client, "request", broken)
        with pytest.raises(ShardError, match="fails: segment damaged"):
            remote.search(Q, 3)


def test_the_shell_cuts_a_store(tmp_path: Path, whole: attar.Store) -> None:
    done = attar_command("shard", whole.path, tmp_path / "cut", "--shards", "3")
    assert done.code == 0, done.err
    assert "3 shards" in done.out
    q = vectors()[:2]
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(attar.open(p)) for p in sorted((tmp_path / "cut").iterdir())]
        same(ShardGroup(stores).search(q, 10), whole.search(q, 10))
