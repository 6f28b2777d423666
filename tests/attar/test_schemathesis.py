"""The OpenAPI document is true: schemathesis asks a running server what it allows and forbids.

Over HTTP, from a server in a process of its own: in this process its event loop's thread outlives the tests.
"""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

import attar
from attar.server import Settings
from attar.server.openapi import description
from attar.stores.store import Store
from tests.attar.test_server import running
from tests.stores.worlds import DIM, documents, names

DOCUMENT = description(Settings(), DIM, "cosine")
api = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "s"
    texts, notes = [f"word{i}" for i in range(20)], [{"n": i} for i in range(20)]
    with Store.create(path, attar.codec("float32"), text_index=True) as store:
        store.add(names(20), documents(20), texts, notes)
    with running(path) as url:
        assert httpx.get(f"{url}/openapi.json").json() == DOCUMENT
        yield url


@api.parametrize()
@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_what_the_document_says(case, url):
    case.call_and_validate(base_url=url, timeout=10)
