"""Parquet tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from attar.retrieval.extras import require
from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.fields import Fields, choose_fields, records_hash
from attar.retrieval.sources.source import Placed, Source, SourceError

_ROWS = 1024


@final
@dataclass(frozen=True)
class ParquetSource(Source):
    """One document a row; all other columns become metadata. Read a row group's batch at a time.

    path: .parquet. text_field, id_field: see `fields.choose_fields`.
    """

    path: Path
    text_field: str | Sequence[str] | None = None
    id_field: str | None = None
    chunking: Chunking | None = None
    kind: str = "parquet"

    @cached_property
    def hash(self) -> str:
        """Hash of the file's bytes and of the fields that were asked for."""
        return records_hash(self.kind, self.path, self.text_field, self.id_field)

    @cached_property
    def fields(self) -> Fields:
        """Columns that are read, chosen by the schema."""
        with self._file() as file:
            return choose_fields(file.schema_arrow.names, self.text_field, self.id_field)

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents from number `start` on; row groups before are not read."""
        with self._file() as file:
            groups, first = self._groups(file.metadata, start)
            number = first
            for batch in file.iter_batches(batch_size=_ROWS, row_groups=groups):
                for record in batch.to_pylist():
                    number += 1
                    if number > start:
                        place = f"{self.path}, row {number - 1}"
                        yield Placed(place, self.fields.document(record, place))

    @staticmethod
    def _groups(metadata: Any, start: int) -> tuple[list[int], int]:
        """Row groups that hold row `start` and later ones; rows before the first of them."""
        before = 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if before + rows > start:
                return list(range(group, metadata.num_row_groups)), before
            before += rows
        return [], before

    def _file(self) -> Any:
        parquet = require("pyarrow.parquet", "sources")
        try:
            return parquet.ParquetFile(self.path)
        except require("pyarrow", "sources").ArrowInvalid as error:
            raise SourceError(
                f"{self.path} is not a Parquet file ({error}); write it with pyarrow or pandas."
            ) from error
