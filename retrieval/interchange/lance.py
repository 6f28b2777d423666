"""LanceDB's tables, in a folder or on object storage."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.interchange.arrays import (
    ID_NAMES,
    TEXT_NAMES,
    VECTOR_NAMES,
    _named,
    _rows,
)
from attar.retrieval.interchange.collection import Collection, size_of, the_one
from attar.stores.transfer.rows import BATCH, Rows


def open_lance(uri: str, collection: str | None = None, metric: str = "cosine") -> Collection:
    """A table of a LanceDB; columns are found by name as in Parquet."""
    lancedb = require("lancedb", "lancedb")
    database = lancedb.connect(uri)
    name = the_one("LanceDB", uri, list(database.list_tables().tables), collection)
    table = database.open_table(name)
    names = table.schema.names
    vector = _named(names, VECTOR_NAMES)
    if vector is None or not table.count_rows():
        raise ValueError(
            f"The table {name!r} of {uri} has {table.count_rows()} rows and the columns "
            f"{', '.join(names)}; vectors are looked for in {', '.join(VECTOR_NAMES)}."
        )
    columns = (vector, _named(names, ID_NAMES), _named(names, TEXT_NAMES))
    dim = table.schema.field(vector).type.list_size

    def read(start: int) -> Iterator[Rows]:
        count = table.count_rows()
        for low in range(start, count, BATCH):
            offsets = np.arange(low, min(low + BATCH, count)).tolist()
            yield _rows(table.take_offsets(offsets).to_arrow().to_batches()[0], low, columns)

    folder = Path(uri) / f"{name}.lance"
    size = size_of(folder) if folder.is_dir() else None
    return Collection("lancedb", name, metric, dim, table.count_rows(), None, size, read)
