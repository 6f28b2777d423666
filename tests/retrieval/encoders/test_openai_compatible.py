"""OpenAICompatible against a real server that limits, fails and lies on purpose."""

import email.utils
import pickle
import random
import time

import numpy as np
import pytest

from attar.retrieval.encoders import OpenAICompatible
from attar.retrieval.encoders.pace import Pace, backoff, retry_after
from tests.retrieval.encoders.embedding_server import DIM, running, vector_of

pytest.importorskip("httpx")
TEXTS = [f"text {number} {'ä' * number}" for number in range(23)]


@pytest.fixture
def server():
    with running() as state:
        yield state


def expected(texts, dim=DIM):
    return np.stack([vector_of(text, dim) for text in texts])


def test_order_is_kept_over_batches_and_threads(server):
    server.delay = 0.1
    encoder = OpenAICompatible("m", server.url, batch_size=3, concurrency=4)
    assert np.array_equal(encoder.encode_documents(TEXTS), expected(TEXTS))
    assert [len(body["input"]) for *_, body in server.requests].count(3) == 7
    assert len(server.requests) == 8
    assert 2 <= server.most_at_once <= 4
    assert {path for _, path, *_ in server.requests} == {"/v1/embeddings"}


def test_one_request_at_a_time_when_told(server):
    server.delay = 0.02
    encoder = OpenAICompatible("m", server.url, batch_size=3, concurrency=1)
    assert np.array_equal(encoder.encode_queries(TEXTS), expected(TEXTS))
    assert server.most_at_once == 1


def test_batches_are_bounded_by_characters(server):
    encoder = OpenAICompatible("m", server.url, batch_chars=50)
    texts = ["a" * 30, "b" * 20, "c", "d" * 200, "e"]
    assert np.array_equal(encoder.encode_documents(texts), expected(texts))
    assert sorted(sum(map(len, body["input"])) for *_, body in server.requests) == [1, 1, 50, 200]


def test_answers_may_come_in_any_order(server):
    server.troubles.append(lambda data: data[::-1])
    assert np.array_equal(
        OpenAICompatible("m", server.url).encode_documents(TEXTS), expected(TEXTS)
    )


@pytest.mark.parametrize("trouble", [429, 500, 503, 408, "hang up", "hang"])
def test_trouble_that_passes_is_tried_again(server, trouble):
    server.troubles.append(trouble)
    encoder = OpenAICompatible("m", server.url, timeout=1.5)
    assert np.array_equal(encoder.encode_documents(TEXTS[:2]), expected(TEXTS[:2]))
    assert len(server.requests) == 2
    assert server.requests[0][3] == server.requests[1][3]


def test_retry_after_is_honoured(server):
    server.troubles.append((429, {"Retry-After": "1.2"}))
    OpenAICompatible("m", server.url).encode_documents(["x"])
    first, second = (when for when, *_ in server.requests)
    assert second - first >= 1.2


def test_back_off_grows_between_tries(server):
    server.troubles.extend([500, 500, 500])
    OpenAICompatible("m", server.url).encode_documents(["x"])
    times = [when for when, *_ in server.requests]
    gaps = np.diff(times)
    assert (gaps >= [0.25, 0.5, 1.0]).all()


def test_giving_up_says_what_happened(server):
    server.troubles.extend([503] * 3)
    with pytest.raises(ConnectionError, match=r"3 tries.*status 503.*on purpose.*concurrency"):
        OpenAICompatible("m", server.url, retries=2).encode_documents(["x"])
    assert len(server.requests) == 3


def test_a_refusal_is_not_tried_again(server):
    server.troubles.append(400)
    with pytest.raises(ValueError, match=r"status 400.*on purpose"):
        OpenAICompatible("m", server.url).encode_documents(["x"])
    server.troubles.append(401)
    with pytest.raises(ValueError, match=r"status 401.*api_key"):
        OpenAICompatible("m", server.url).encode_documents(["x"])
    assert len(server.requests) == 2


def test_nobody_listening_is_a_connection_error():
    with running() as stopped:
        encoder = OpenAICompatible("m", stopped.url, retries=0)
    with pytest.raises(ConnectionError, match="ConnectError"):
        encoder.encode_documents(["x"])


def test_requests_per_minute_spreads_the_starts(server):
    encoder = OpenAICompatible("m", server.url, batch_size=1, requests_per_minute=600)
    start = time.monotonic()
    encoder.encode_documents(["a", "b", "c", "d", "e"])
    assert server.requests[-1][0] - start >= 0.4


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (b"<html>", "as the OpenAI embeddings API does"),
        (b'{"data": 3}', "as the OpenAI embeddings API does"),
        (b'{"data": [{"index": 0, "embedding": "AAAA"}]}', "as the OpenAI embeddings API does"),
        (lambda data: data[:1], "got 1 vectors for 2 texts"),
        (lambda data: [data[0], data[0]], "every text once"),
        (lambda data: [{**data[0], "embedding": [float("nan")] * 6}, data[1]], "in row 0"),
        (lambda data: [{**data[0], "embedding": [1.0]}, data[1]], "as the OpenAI"),
    ],
)
def test_answers_that_break_the_rules_are_named(server, lie, message):
    server.troubles.append(lie)
    with pytest.raises(ValueError, match=message):
        OpenAICompatible("m", server.url).encode_documents(["a", "b"])


def test_a_dimension_that_changes_between_batches_is_named(server):
    server.troubles.append(lambda data: [{**each, "embedding": [1.0, 2.0]} for each in data])
    with pytest.raises(ValueError, match=r"keep its dimension, got \[2, 6\]"):
        OpenAICompatible("m", server.url, batch_size=1).encode_documents(["a", "b"])


def test_dimensions_and_prompts_are_sent(server):
    encoder = OpenAICompatible(
        "m", server.url, dimensions=4, query_prompt="q: ", document_prompt="d: "
    )
    assert np.array_equal(encoder.encode_queries(["x"]), expected(["q: x"], 4))
    assert np.array_equal(encoder.encode_documents(["x"]), expected(["d: x"], 4))
    assert encoder.dim == 4
    assert server.requests[0][3] == {
        "model": "m",
        "input": ["q: x"],
        "encoding_format": "float",
        "dimensions": 4,
    }


def test_fingerprint_is_of_address_model_dimension_and_prompts(server):
    def fingerprint(model="m", **options):
        return OpenAICompatible(model, server.url, **options).fingerprint

    assert fingerprint() == fingerprint(batch_size=1, concurrency=1, api_key="k", retries=1)
    others = [
        fingerprint("n"),
        fingerprint(dimensions=3),
        fingerprint(query_prompt="q"),
        fingerprint(document_prompt="q"),
        OpenAICompatible("m", server.url.replace("/v1", "/v2")).fingerprint,
    ]
    assert len({fingerprint(), *others}) == 6


def authorization(server, **options):
    OpenAICompatible("m", server.url, **options).encode_queries(["x"])
    return server.requests[-1][2].get("Authorization")


def test_the_key_goes_only_where_it_was_meant_to(server, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "from-env")
    assert authorization(server) is None
    assert authorization(server, api_key="given") == "Bearer given"
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    assert authorization(server) == "Bearer from-env"
    assert "given" not in repr(OpenAICompatible("m", api_key="given"))


def test_no_texts_give_no_rows(server):
    assert OpenAICompatible("m", server.url).encode_documents([]).shape == (0, DIM)


def test_pickled_encoders_connect_again(server):
    encoder = OpenAICompatible("m", server.url, requests_per_minute=6000, api_key="k")
    vectors = encoder.encode_queries(["x"])
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy == encoder and np.array_equal(copy.encode_queries(["x"]), vectors)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "localhost:1"},
        {"batch_size": 0},
        {"batch_chars": 0},
        {"concurrency": 0},
        {"retries": -1},
        {"requests_per_minute": -1},
        {"dimensions": -3},
        {"timeout": 0},
    ],
)
def test_settings_are_checked(options):
    with pytest.raises(ValueError, match="got"):
        OpenAICompatible("m", **options)


def test_retry_after_reads_numbers_and_dates():
    assert retry_after("2.5") == 2.5
    assert retry_after("-3") == 0.0
    assert retry_after("1e9") == 600.0
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < retry_after(date) <= 30
    assert [retry_after(each) for each in (None, "soon", "nan")] == [None] * 3


def test_backoff_doubles_up_to_a_limit():
    draw = random.Random(0)
    for attempt in range(12):
        longest = min(60.0, 0.5 * 2**attempt)
        waits = [backoff(attempt, draw) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_a_pause_holds_everybody():
    pace = Pace(None)
    start = time.monotonic()
    pace.pause(0.3)
    pace.wait()
    assert time.monotonic() - start >= 0.3
