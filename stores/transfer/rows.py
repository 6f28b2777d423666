"""Documents on their way out or in, a batch at a time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attar.stores.reading import StoreReading
from attar.stores.types import Float32

BATCH = 1000


@dataclass(frozen=True)
class Rows:
    """Some documents: vectors float32 [n d], the rest lists of length n."""

    ids: list[str]
    vectors: Float32
    texts: list[str | None]
    metadata: list[dict[str, Any] | None]


def rows_of(store: StoreReading, originals: bool) -> Iterator[Rows]:
    """All documents of a store with decoded vectors, or with the originals it keeps."""
    batch: list[Any] = []
    for record in store.iter(BATCH):
        batch.append(record)
        if len(batch) == BATCH:
            yield _rows(store, batch, originals)
            batch = []
    if batch:
        yield _rows(store, batch, originals)


def _rows(store: StoreReading, batch: list[Any], originals: bool) -> Rows:
    ids = [record.id for record in batch]
    vectors = store.vectors(ids, originals=originals)
    return Rows(ids, vectors, [r.text for r in batch], [r.metadata for r in batch])


class DocumentLines:
    """`documents.jsonl`: {"id", "text", "metadata"} a line, in the order of the vectors."""

    NAME = "documents.jsonl"

    def __init__(self, folder: Path) -> None:
        self._file = (folder / self.NAME).open("w", encoding="utf-8", newline="\n")

    def write(self, rows: Rows) -> None:
        """Append a batch."""
        for name, text, metadata in zip(rows.ids, rows.texts, rows.metadata, strict=True):
            line = {"id": name, "text": text, "metadata": metadata}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    @classmethod
    def read(cls, folder: Path) -> Iterator[tuple[str, str | None, dict[str, Any] | None]]:
        """Lines of a file; one that is not such a document is named."""
        path = folder / cls.NAME
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                try:
                    entry = json.loads(line)
                    yield entry["id"], entry["text"], entry["metadata"]
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise ValueError(
                        f"{path} has one JSON object with id, text and metadata a line; line "
                        f"{number}: {error!r:.100}."
                    ) from None
