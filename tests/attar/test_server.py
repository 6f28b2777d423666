import asyncio
import contextlib
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import attar
from attar.server import Settings, create_app, serve
from attar.server.batching import Batcher
from attar.server.limits import Buckets
from attar.stores.store import Store
from tests.stores.worlds import DIM, Words, documents, names, reopen


@pytest.fixture
def store(tmp_path):
    with Store.create(
        tmp_path / "s", attar.codec("float32"), encoder=Words(), text_index=True
    ) as one:
        texts = [f"word{i} common <b>" for i in range(30)]
        x = Words().encode_documents(texts)
        one.add(names(30), x, texts, [{"n": i} for i in range(30)])
        yield one


@pytest.fixture
def client(store):
    with TestClient(create_app(store)) as one:
        yield one


def npy(*arrays):
    stream = io.BytesIO()
    for array in arrays:
        np.save(stream, array)
    return stream.getvalue()


BINARY = {"Content-Type": "application/x-npy"}


def test_search_equals_the_store(client, store):
    queries = documents(3, seed=2)
    truth = store.search(queries, k=4, filter={"n": {"$lt": 20}})
    body = {"vector": queries.tolist(), "k": 4, "filter": {"n": {"$lt": 20}}, "documents": True}
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 200
    hits = answer.json()["hits"]
    assert [[h["id"] for h in row] for row in hits] == truth.ids.tolist()
    np.testing.assert_array_equal(
        np.array([[h["score"] for h in row] for row in hits], np.float32), truth.scores
    )
    assert hits[0][0]["text"].endswith("common <b>")
    binary = client.post("/v1/search?k=4", content=npy(queries), headers=BINARY).json()["hits"]
    plain = store.search(queries, k=4).ids.tolist()
    assert [[h["id"] for h in row] for row in binary] == plain
    by_text = client.post("/v1/search", json={"text": "word7 common <b>", "k": 1}).json()["hits"]
    assert by_text[0][0]["id"] == "d7"
    words = client.post("/v1/search", json={"text": "word9", "alpha": 0}).json()["hits"]
    assert [h["id"] for h in words[0]] == ["d9"]


def test_documents_come_and_go(client, store):
    x = documents(2, seed=9)
    body = {
        "documents": [
            {"id": "a", "vector": x[0].tolist(), "text": "t", "metadata": {}},
            {"id": "b", "vector": x[1].tolist()},
        ]
    }
    assert client.post("/v1/documents", json=body).status_code == 201
    again = client.post("/v1/documents", json=body)
    assert (again.status_code, "exist already" in again.json()["error"]) == (409, True)
    assert client.post("/v1/documents", json=body | {"replace": True}).status_code == 201
    got = client.post("/v1/documents/get", json={"ids": ["b", "zzz", "a"]}).json()["documents"]
    assert got == [
        {"id": "b", "text": None, "metadata": None},
        {"id": "a", "text": "t", "metadata": {}},
    ]
    raw = npy(np.array(["é", "n2"]), x)
    assert client.post("/v1/documents", content=raw, headers=BINARY).status_code == 201
    assert (store.vectors(["é"]) * np.linalg.norm(x[0]) - x[0] < 1e-5).all()
    gone = client.post("/v1/documents/delete", json={"ids": ["a", "é", "none"]}).json()
    assert gone == {"deleted": 2, "documents": 32}


def test_a_reader_refuses_changes_and_follows_commits(tmp_path, store):
    with reopen(tmp_path / "s") as reader:
        app = create_app(reader, Settings(refresh_seconds=0.05))
        with TestClient(app) as client:
            refused = client.post("/v1/documents/delete", json={"ids": ["d1"]})
            assert refused.status_code == 403
            store.delete(["d1"])
            end = time.monotonic() + 20
            while client.get("/health").json()["documents"] != 29 and time.monotonic() < end:
                time.sleep(0.05)
            assert client.get("/health").json() == {"status": "ok", "documents": 29}


def test_keys_are_asked_for_everywhere_but_health(store):
    with TestClient(create_app(store, Settings(api_keys=("first", "s\u00e9cond")))) as client:
        assert client.get("/health").status_code == 200
        for path in ("/", "/metrics", "/openapi.json", "/v1/info", "/nothing"):
            assert client.get(path).status_code == 401
        for key in ("first", "s\u00e9cond"):
            head = {"Authorization": f"Bearer {key}".encode()}
            assert client.get("/v1/info", headers=head).status_code == 200
        for wrong in (b"Bearer firs", b"Bearer firstx", b"first", b"Bearer ", b"Basic first"):
            assert client.get("/v1/info", headers={"Authorization": wrong}).status_code == 401


def test_bodies_rates_times_and_hosts_are_limited(store):
    limits = Settings(body_bytes=2000, requests_per_second=0.001, burst=5, largest_k=50)
    with TestClient(create_app(store, limits)) as client:
        big = {"text": "x" * 3000}
        assert client.post("/v1/search", json=big).status_code == 413

        def stream():
            yield json.dumps(big).encode()

        head = {"Content-Type": "application/json"}
        assert client.post("/v1/search", content=stream(), headers=head).status_code == 413
        assert client.post("/v1/search", json={"text": "a", "k": 51}).status_code == 400
        codes = [client.get("/v1/info").status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        assert int(client.get("/v1/info").headers["retry-after"]) > 100
        assert client.get("/health").status_code == 200
    with TestClient(create_app(store, Settings(timeout=0.2))) as client:
        slow, store.search = store.search, lambda *a, **o: time.sleep(1)
        try:
            assert client.post("/v1/search", json={"text": "a"}).status_code == 503
        finally:
            store.search = slow
    with TestClient(create_app(store, Settings(hosts=("localhost",)))) as client:
        assert client.get("/health").status_code == 400
        assert client.get("/health", headers={"Host": "localhost:80"}).status_code == 200


def test_buckets_refill():
    buckets = Buckets(rate=2.0, burst=3)
    assert [buckets.wait("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("b", 0.0) == 0
    assert buckets.wait("a", 0.5) == 0
    assert buckets.wait("a", 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/search", b"nonsense"),
        ("/v1/search", b"[]"),
        ("/v1/search", b"{}"),
        ("/v1/search", b'{"text": NaN}'),
        ("/v1/search", b'{"vector": [[1, 2], [3]]}'),
        ("/v1/search", b'{"vector": [1e999]}'),
        ("/v1/search", b'{"vector": {"a": 1}}'),
        ("/v1/search", b'{"text": "a", "k": 1.5}'),
        ("/v1/search", b'{"text": "a", "k": true}'),
        ("/v1/search", b'{"text": "a", "k": 0}'),
        ("/v1/search", b'{"text": "a", "what": 1}'),
        ("/v1/search", b'{"text": "a", "filter": {"$where": "1"}}'),
        ("/v1/search", b'{"text": "\\ud800"}'),
        ("/v1/search", b"[" * 100_000),
        ("/v1/search", b'{"text": "a", "filter": null}'),
        ("/v1/search", b'{"text": "a", "group_size": 1}'),
        ("/v1/search", b'{"vector": [], "alpha": 0}'),
        ("/v1/search", b'{"vector": [true]}'),
        ("/v1/documents", b'{"documents": "abc"}'),
        ("/v1/documents", b'{"documents": []}'),
        ("/v1/documents", b'{"documents": [{"id": 1}]}'),
        ("/v1/documents", b'{"documents": [{"id": ""}]}'),
        ("/v1/documents", b'{"documents": [{"id": "a", "metadata": 3}]}'),
        ("/v1/documents", b'{"documents": [{"id": "a", "vector": [1]}, {"id": "b"}]}'),
        ("/v1/documents", b'{"documents": [{"id": "a", "what": 3}]}'),
        ("/v1/documents/get", b'{"ids": [1]}'),
        ("/v1/documents/delete", b'{"ids": null}'),
    ],
)
def test_bad_bodies_are_400_with_a_sentence(client, path, body):
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert len(answer.json()["error"]) > 10


def test_other_origins_cannot_post_without_asking(client):
    for form in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post(
            "/v1/documents/delete", content=b'{"ids": ["d1"]}', headers={"Content-Type": form}
        )
        assert answer.status_code == 400
    assert client.options("/v1/documents/delete").status_code == 405


@given(st.binary(max_size=200), st.booleans())
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_npy_fuzz_gives_declared_errors_only(client, noise, prefix):
    body = npy(documents(2))[:90] + noise if prefix else noise
    for path in ("/v1/search", "/v1/documents"):
        answer = client.post(path, content=body, headers=BINARY)
        assert answer.status_code in (200, 400, 409), answer.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
KEYS = ["vector", "text", "k", "filter", "alpha", "offset", "min_score", "group_by", "group_size"]
KEYS += ["documents", "replace", "ids"]
ROUTES = ["search", "documents", "documents/get", "documents/delete"]


@given(st.sampled_from(ROUTES), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4) | JSON)
@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
def test_any_json_gives_declared_errors_only(client, route, body):
    try:
        answer = client.post(f"/v1/{route}", json=body)
    except ValueError:
        return  # the client itself refuses NaN
    assert answer.status_code in (200, 201, 400, 409), answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]


def test_npy_is_never_unpickled(client):
    stream = io.BytesIO()
    np.save(stream, np.array([object()]), allow_pickle=True)
    answer = client.post("/v1/search", content=stream.getvalue(), headers=BINARY)
    assert answer.status_code == 400


def test_metrics_page_and_openapi(client):
    client.post("/v1/search", json={"text": "a"})
    client.post("/v1/search", json={})
    text = client.get("/metrics").text
    assert "attar_documents 30" in text
    assert 'attar_requests_total{route="/v1/search",method="POST",status="200"} 1' in text
    assert 'attar_requests_total{route="/v1/search",method="POST",status="400"} 1' in text
    assert 'attar_request_seconds_count{route="/v1/search"} 2' in text
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "innerHTML" not in page.text
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/search", "/v1/documents", "/health", "/metrics"}
    assert client.get("/missing").json() == {"error": "Not Found"}
    assert client.get("/v1/search").status_code == 405


def test_a_crowd_shares_searches_and_gets_its_own_answers(store):
    sizes = []

    def search(queries, **options):
        sizes.append(len(queries))
        time.sleep(0.02)
        return store.search(queries, **options)

    async def ask():
        batcher = Batcher(search, 64)
        x = documents(40, seed=6)
        jobs = [batcher.search(x[i : i + 1], {"k": 3 + i % 2}) for i in range(40)]
        return x, await asyncio.gather(*jobs)

    x, answers = asyncio.run(ask())
    for i, hits in enumerate(answers):
        truth = store.search(x[i], k=3 + i % 2)
        assert hits.ids.tolist() == truth.ids.tolist()
    assert sum(sizes) == 40
    assert len(sizes) <= 4


def test_one_bad_search_does_not_spoil_the_others(store):
    async def ask():
        batcher = Batcher(store.search, 64)
        good = batcher.search(documents(1), {"k": 3})
        bad = batcher.search(documents(1), {"k": 3, "filter": {"$bad": 1}})
        return await asyncio.gather(good, bad, return_exceptions=True)

    good, bad = asyncio.run(ask())
    assert good.ids.shape == (1, 3)
    assert isinstance(bad, ValueError)


def test_servers_without_keys_stay_at_home(store):
    with pytest.raises(ValueError, match="stays on this machine"):
        serve(store.path, "0.0.0.0")
    with pytest.raises(ValueError, match="not empty"):
        Settings(api_keys=("",))


SERVER = """
import sys
from pathlib import Path
from attar.server import serve
serve(Path(sys.argv[1]), port=int(sys.argv[2]), writable=True)
"""


@contextlib.contextmanager
def running(path):
    """A server in a process of its own; it must end by SIGTERM without a traceback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(path), str(port)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        errors = server.communicate(timeout=60)[1]
    assert not re.search("Traceback", errors), errors


def test_a_real_server_finishes_what_it_began_and_seals_the_store(tmp_path):
    x = documents(2000)
    Store.create(tmp_path / "s", attar.codec("float32"), metric="ip").close()
    body, codes = npy(np.array(names(2000)), x), []
    with running(tmp_path / "s") as url:

        def post():
            answer = httpx.post(f"{url}/v1/documents", content=body, headers=BINARY, timeout=60)
            codes.append(answer.status_code)

        upload = threading.Thread(target=post)
        upload.start()
        upload.join()
        found = httpx.post(f"{url}/v1/search", json={"vector": x[5].tolist(), "k": 3}, timeout=60)
        assert codes == [201]
        assert len(found.json()["hits"][0]) == 3
    with reopen(tmp_path / "s", "w") as store:
        assert len(store) == 2000
        assert store.search(np.ones(DIM), k=1).ids.shape == (1, 1)
        assert store.verify().whole


BROWSER = shutil.which("chromium")


@pytest.mark.skipif(BROWSER is None, reason="chromium is not here")
def test_the_page_asks_and_shows_in_a_browser(tmp_path):
    texts = ["red fish", "<img src=x onerror=document.title='broken'> red tea", "blue sky"]
    with Store.create(tmp_path / "s", attar.codec("float32"), text_index=True) as store:
        store.add(["a", "b", "c"], documents(3), texts)
    with running(tmp_path / "s") as url:
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
        run = subprocess.run(
            [*command, f"{url}/#by=0&text=red"],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert "a\nred fish</li>" in run.stdout, run.stdout[-2000:] + run.stderr[-500:]
    assert "&lt;img src=x" in run.stdout
    assert "<title>attar</title>" in run.stdout
    assert "blue sky" not in run.stdout
