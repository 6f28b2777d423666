"""What the tests of engines share: a PostgreSQL server, a folder whose files cost no disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import dsn

__all__ = ["dsn", "in_memory"]


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """For Qdrant's local mode, which waits for the disk at every point."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)
