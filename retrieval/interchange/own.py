"""A store as a collection: to change its codec into a new folder."""

from collections.abc import Iterator
from pathlib import Path

from attar.retrieval.housing import open_store
from attar.retrieval.interchange.collection import Collection, from_row, size_of
from attar.stores.transfer.rows import Rows, rows_of


def open_own(path: Path) -> Collection:
    """Documents of a store with its kept originals, or else with decoded vectors."""
    store = open_store(path, "r")
    if store.dim is None or not len(store):
        raise ValueError(f"{path} is empty; there is nothing to read.")
    facts = store.info()
    disk = facts["disk"]

    def read(start: int) -> Iterator[Rows]:
        return from_row(rows_of(store, bool(facts["originals"])), start)

    vectors = disk["codes"] + disk["originals"] + disk["codecs"]
    return Collection(
        "attar", path.name, store.metric, store.dim, len(store), vectors, size_of(path), read
    )
