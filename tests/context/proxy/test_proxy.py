"""The proxy against a scripted upstream on loopback: what passes, what changes, what breaks."""

import asyncio
import contextlib
import gzip
import http.client
import json
import socket
import sqlite3
import time

import httpx
import pytest

from attar.context import Compactor, Originals, Prices
from attar.context.proxy import ProxySettings, create_app, serve
from tests.context.conversations import FORMATS, requests_of
from tests.context.proxy.upstream import ScriptedUpstream, Server, event_of

BUDGET = 4000
PATHS = {
    "chat": ("/v1/chat/completions", "messages"),
    "anthropic": ("/v1/messages", "messages"),
    "responses": ("/v1/responses", "input"),
}
KEY = {"Authorization": "Bearer sk-one", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def upstream():
    server = ScriptedUpstream()
    yield server
    server.close()


@pytest.fixture
def proxied(upstream):
    server = start(upstream)
    yield server
    server.close()


def start(upstream, url=None, **settings):
    return Server(create_app(ProxySettings(url or upstream.url, BUDGET, **settings)))


def ask(server, method, path, body=None, headers=None):
    """One request over a plain connection; (status, raw headers, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    out = response.status, response.getheaders(), response.read()
    connection.close()
    return out


def reports(headers):
    return {k: v for k, v in headers if k.startswith("x-attar")}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models?limit=2&q=%2F%20a", None),
        ("POST", "/v1/embeddings", b'{"a":  1.0,\n "b": "\\u00e9"}'),
        ("POST", "/v1/files", bytes(range(256)) * 999),
        ("DELETE", "/v1/files/a%2Fb/../c", None),
        ("PUT", "/x//y", b""),
        ("POST", "/v1/messages/count_tokens", b'{"messages": [{"role": "user"}]}'),
        ("GET", "/gzip", None),
        ("GET", "/status/429", None),
        ("POST", "/status/500", b"{}"),
    ],
)
def test_unknown_routes_and_errors_pass_byte_for_byte(upstream, proxied, method, path, body):
    headers = KEY | {"X-Trace": "ü".encode().decode("latin-1"), "Accept-Encoding": "gzip, br"}
    upstream.requests.clear()
    direct = ask(upstream, method, path, body, headers)
    through = ask(proxied, method, path, body, headers)
    assert through[0] == direct[0] and through[2] == direct[2]
    assert [(k.lower(), v) for k, v in through[1]] == [(k.lower(), v) for k, v in direct[1]]
    (head1, body1), (head2, body2) = upstream.requests
    assert body1 == body2 and head1.split(b"\r\n")[0] == head2.split(b"\r\n")[0]

    def lines(head):
        found = {x.lower() for x in head.split(b"\r\n")[1:] if x}
        return {x for x in found if not x.startswith((b"host:", b"connection:"))}

    assert lines(head1) == lines(head2)


def test_an_encoded_response_is_not_decoded(proxied):
    status, headers, body = ask(proxied, "GET", "/gzip", headers={"Accept-Encoding": "gzip"})
    assert status == 200 and ("content-encoding", "gzip") in headers
    assert gzip.decompress(body) == b"text " * 99


@pytest.mark.parametrize("name", FORMATS)
def test_a_conversation_is_compressed_as_by_the_library(upstream, proxied, name):
    path, field = PATHS[name]
    upstream.requests.clear()
    library = Compactor(BUDGET, replay=True)
    breaks = 0
    for messages in list(requests_of(FORMATS[name](3, 12)))[::2]:
        body = json.dumps({"model": "m", field: messages, "temperature": 1.0}, indent=1)
        status, headers, _ = ask(proxied, "POST", path, body, KEY)
        sent = upstream.requests[-1][1]
        expected = library.compress(messages)
        assert status == 200 and json.loads(sent)[field] == expected.messages
        report = reports(headers)
        assert report["x-attar-tokens"] == str(expected.report.tokens)
        if not expected.report.changes:
            assert sent == body.encode()
        breaks += int(report["x-attar-cache-breaks"])
    assert breaks


def test_every_byte_outside_the_shortened_texts_is_kept(upstream, proxied):
    old = json.dumps("old words here. " * 1500)
    body = (
        '{"model":"m" ,"temperature":1.00,"messages":[\n {"role":"user","content":'
        + old
        + '},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function",'
        '"function":{"name":"f","arguments":"{\\"x\\": 1.0}"}}],"n":1e5},'
        '{"role":"tool","tool_call_id":"a","content":"{\\"ok\\":1}"},'
        '{"role":"user","content":"caf\\u00e9 \\ud83d\\ude00 \\ud83d"}],'
        '"top_p":0.10,"stream":false}'
    ).encode()
    ask(proxied, "POST", "/v1/chat/completions", body, KEY)
    sent = upstream.requests[-1][1]
    head, tail = body.split(old.encode())
    assert sent.startswith(head) and sent.endswith(tail) and len(sent) < len(body) / 2
    assert f"content-length: {len(sent)}".encode() in upstream.requests[-1][0].lower()


def test_cache_control_and_signatures_arrive(upstream, proxied):
    mark = {"type": "ephemeral", "ttl": "1h"}
    messages = FORMATS["anthropic"](3, 12)
    messages[0]["content"][0]["cache_control"] = mark
    system = [{"type": "text", "text": "be short", "cache_control": mark}]
    body = {"model": "m", "system": system, "messages": messages, "max_tokens": 9}
    ask(proxied, "POST", "/v1/messages", json.dumps(body), KEY)
    sent = json.loads(upstream.requests[-1][1])
    assert sent["system"] == system and sent["messages"] != messages
    assert sent["messages"][0]["content"][0]["cache_control"] == mark
    assert json.dumps(sent).count('"signature": "c2ln"') == json.dumps(body).count("c2ln")


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"{}", b'{"messages": 3}', b'{"messages": [3]}', b"\xff\xfe{",
     b'{"messages": [{"role": "boss", "content": "x"}]}', b"[" * 100_000],
)  # fmt: skip
def test_what_cannot_be_read_passes_with_a_warning(upstream, proxied, body):
    status, headers, back = ask(proxied, "POST", "/v1/chat/completions", body, KEY)
    assert status == 200 and back == body == upstream.requests[-1][1]
    assert "unchanged" in reports(headers)["x-attar-warning"]


def test_beyond_the_budget_a_request_passes_with_a_warning(upstream, proxied):
    body = json.dumps({"messages": [{"role": "user", "content": "long " * 5000}]}).encode()
    status, headers, _ = ask(proxied, "POST", "/v1/chat/completions", body, KEY)
    assert status == 200 and upstream.requests[-1][1] == body
    assert "Raise the budget" in reports(headers)["x-attar-warning"]


def test_disabled_and_shadow_change_no_byte(upstream):
    messages = FORMATS["chat"](3, 12)
    messages[1]["content"] += " é"
    body = json.dumps({"messages": messages}).encode()
    for settings, reported in (({"enabled": False}, False), ({"shadow": True}, True)):
        server = start(upstream, **settings)
        _, headers, _ = ask(server, "POST", "/v1/chat/completions", body, KEY)
        assert upstream.requests[-1][1] == body
        assert bool(reports(headers)) == reported
        if reported:
            assert float(reports(headers)["x-attar-compression"]) > 1.5
        server.close()


def test_an_error_of_its_own_passes_the_request(upstream):
    def broken(text, budget, query, count):
        raise RuntimeError

    server = start(upstream, compressor=broken)
    body = json.dumps({"messages": FORMATS["chat"](3, 12)}).encode()
    status, headers, _ = ask(server, "POST", "/v1/chat/completions", body, KEY)
    assert status == 200 and upstream.requests[-1][1] == body
    assert "RuntimeError" in reports(headers)["x-attar-warning"]
    assert json.loads(ask(server, "GET", "/attar/stats")[2])["failures"] == 1
    server.close()


def test_originals_are_served_to_their_key_and_purged(upstream, tmp_path):
    file = tmp_path / "originals.sqlite"
    server = start(upstream, originals=file, label=True)
    messages = FORMATS["chat"](3, 12)
    ask(server, "POST", "/v1/chat/completions", json.dumps({"messages": messages}), KEY)
    changes = Compactor(BUDGET, label=True, replay=True).compress(messages).report.changes
    place = f"/attar/originals/{changes[0].original}"
    status, _, text = ask(server, "GET", place, headers=KEY)
    assert status == 200 and text.decode() == messages[changes[0].path[0]]["content"]
    other = {"Authorization": "Bearer sk-two"}
    assert ask(server, "GET", place, headers=other)[0] == 404
    assert json.loads(ask(server, "DELETE", "/attar/originals", headers=other)[2])["purged"] == 0
    assert json.loads(ask(server, "DELETE", "/attar/originals", headers=KEY)[2])["purged"] > 0
    assert ask(server, "GET", place, headers=KEY)[0] == 404
    server.close()
    assert file.stat().st_mode & 0o777 == 0o600 and b"sk-one" not in file.read_bytes()


def test_originals_of_one_conversation_are_purged(upstream, tmp_path):
    server = start(upstream, originals=tmp_path / "o.sqlite")
    places, names = [], []
    for seed in (3, 4):
        messages = FORMATS["chat"](seed, 12)
        body = json.dumps({"messages": messages})
        _, headers, _ = ask(server, "POST", "/v1/chat/completions", body, KEY)
        names.append(reports(headers)["x-attar-conversation"])
        change = Compactor(BUDGET, replay=True).compress(messages).report.changes[0]
        places.append(f"/attar/originals/{change.original}")
    assert names[0] != names[1]
    other = {"x-api-key": "sk-two"}
    purge = f"/attar/originals?conversation={names[0]}"
    assert json.loads(ask(server, "DELETE", purge, headers=other)[2]) == {
        "purged": 0, "forgotten": 0,
    }  # fmt: skip
    done = json.loads(ask(server, "DELETE", purge, headers=KEY)[2])
    assert done["purged"] > 0 and done["forgotten"] > 0
    assert [ask(server, "GET", p, headers=KEY)[0] for p in places] == [404, 200]
    server.close()


def test_what_is_kept_is_forgotten_after_ttl(upstream, tmp_path):
    file = tmp_path / "o.sqlite"
    server, before = start(upstream, originals=file, ttl=600), time.time()
    messages = FORMATS["chat"](3, 12)
    ask(server, "POST", "/v1/chat/completions", json.dumps({"messages": messages}), KEY)
    change = Compactor(BUDGET, replay=True).compress(messages).report.changes[0]
    place = f"/attar/originals/{change.original}"
    assert ask(server, "GET", place, headers=KEY)[0] == 200
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        until = [t for (t,) in db.execute("SELECT expires FROM originals")]
        assert until and all(before + 600 <= t <= time.time() + 600 for t in until)
        db.execute("UPDATE originals SET expires = expires - 601")  # as if ten minutes went by
    assert ask(server, "GET", place, headers=KEY)[0] == 404
    server.close()
    start(upstream, originals=file, ttl=600).close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM originals").fetchone() == (0,)
    assert ProxySettings("http://x", 100, ttl=7).compactor().memory.ttl == 7


def test_keys_are_forwarded_and_errors_of_a_shortened_request_are_unchanged(upstream, proxied):
    body = json.dumps({"messages": FORMATS["chat"](3, 12)})
    path = "/status/429/v1/chat/completions"
    direct = ask(upstream, "POST", path, body, KEY)
    through = ask(proxied, "POST", path, body, KEY)
    sent = upstream.requests[-1]
    assert b"authorization: bearer sk-one" in sent[0].lower() and len(sent[1]) < len(body)
    assert through[0] == direct[0] == 429 and through[2] == direct[2]
    kept = [(k.lower(), v) for k, v in through[1] if not k.startswith("x-attar")]
    assert kept == [(k.lower(), v) for k, v in direct[1]] and ("retry-after", "7") in kept


def test_the_report_has_money_reads_writes_and_breaks(upstream):
    server = start(upstream, prices=Prices.parse("3,0.3,3.75"))
    library = Compactor(BUDGET, replay=True, prices=Prices(3.0, 0.3, 3.75))
    seen = 0
    for messages in list(requests_of(FORMATS["chat"](3, 12)))[::2]:
        body = json.dumps({"messages": messages})
        _, headers, _ = ask(server, "POST", "/v1/chat/completions", body, KEY)
        report, expected = reports(headers), library.compress(messages).report
        assert report["x-attar-money"] == f"{expected.money:.6f}"
        assert report["x-attar-original-money"] == f"{expected.original_money:.6f}"
        for name in ("cache_reads", "cache_writes", "cache_breaks", "original_tokens"):
            assert report[f"x-attar-{name.replace('_', '-')}"] == str(getattr(expected, name))
        seen += expected.cache_breaks
    assert seen
    server.close()


def test_originals_that_cannot_be_kept_are_not_shortened(upstream, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Originals, "put", full)
    server = start(upstream)
    body = json.dumps({"messages": FORMATS["chat"](3, 12)}).encode()
    _, headers, _ = ask(server, "POST", "/v1/chat/completions", body, KEY)
    assert upstream.requests[-1][1] == body and "originals" in reports(headers)["x-attar-warning"]
    server.close()


def test_an_unreachable_upstream_is_a_502(upstream):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start(upstream, url=f"http://127.0.0.1:{port}")
    status, _, body = ask(server, "POST", "/v1/chat/completions", b'{"messages": []}')
    assert status == 502 and json.loads(body)["error"]["type"] == "attar_proxy_error"
    server.close()


def test_an_upstream_that_stalls_is_a_504(upstream):
    server = start(upstream, stall=0.3)
    assert ask(server, "GET", "/stall")[0] == 504
    server.close()


@pytest.mark.parametrize("path", ["/cut/v1/chat/completions", "/hang/v1/chat/completions"])
def test_an_upstream_that_breaks_off_is_not_mistaken_for_the_end(upstream, path):
    server = start(upstream, stall=0.5)
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "stream": 9})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", path, body, KEY)
    response = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    assert cut.value.partial == b"".join(event_of("x", i) for i in range(3))
    with pytest.raises(http.client.IncompleteRead):
        ask(server, "GET", "/die")
    server.close()


def test_a_client_that_leaves_frees_the_upstream(upstream):
    server = start(upstream)
    before = upstream.closed
    for path in ("/hang/v1/chat/completions", "/hang/other"):
        body = json.dumps({"messages": [{"role": "user", "content": "x"}], "stream": 9}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            assert b"200" in client.recv(100)
    deadline = time.monotonic() + 10
    while upstream.closed < before + 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert upstream.closed == before + 2
    server.close()


def test_events_arrive_one_by_one(upstream):
    server = start(upstream)
    upstream.pause = 0.15
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "stream": 4}).encode()
    times, got = [], b""
    with httpx.stream(
        "POST", f"{server.url}/v1/chat/completions", content=body, headers=KEY
    ) as response:
        for chunk in response.iter_raw():
            times.append(time.monotonic())
            got += chunk
    upstream.pause = 0.0
    assert got == b"".join(event_of("x", i) for i in range(4))
    assert len(times) >= 4 and times[3] - times[0] > 0.2
    server.close()


def test_two_hundred_streams_at_once_lose_and_reorder_nothing(upstream):
    server = start(upstream)
    upstream.pause = 0.01

    async def one(client, user):
        body = {"messages": [{"role": "user", "content": "x"}], "stream": 20, "user": f"u{user}"}
        got = b""
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200
            async for chunk in response.aiter_raw():
                got += chunk
        assert got == b"".join(event_of(f"u{user}", i) for i in range(20))
        return 1

    async def all_of_them():
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            return sum(await asyncio.gather(*(one(client, u) for u in range(200))))

    assert asyncio.run(all_of_them()) == 200
    upstream.pause = 0.0
    server.close()


def test_settings_are_validated():
    for bad in ("localhost:1", "ftp://x", "http://", "http://x/?a=1"):
        with pytest.raises(ValueError, match="upstream is"):
            ProxySettings(bad, 100)
    with pytest.raises(ValueError, match="above 0"):
        ProxySettings("http://x", 100, stall=0)
    with pytest.raises(ValueError, match="ttl"):
        ProxySettings("http://x", 100, ttl=0)
    with pytest.raises(ValueError, match="budget"):
        create_app(ProxySettings("http://x", 0))
    with pytest.raises(ValueError, match="port"):
        serve(ProxySettings("http://x", 100), port=70000)


def test_a_prefix_of_the_upstream_is_kept(upstream):
    server = start(upstream, url=upstream.url + "/base/")
    ask(server, "GET", "/v1/models?x=1")
    assert upstream.requests[-1][0].startswith(b"GET /base/v1/models?x=1 HTTP/1.1")
    server.close()
