"""Tables of text: CSV and TSV, plain or gzipped."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.content import decoded, numbered_lines
from attar.retrieval.sources.fields import Fields, choose_fields, records_hash
from attar.retrieval.sources.source import Placed, Source, SourceError

# The csv module refuses fields beyond 131,072 characters and a document may be longer. The limit is
# one for the whole process; it is only ever raised.
_LONGEST_FIELD = 2**31 - 1


@final
@dataclass(frozen=True)
class DelimitedSource(Source):
    """One document a row under a header; all other columns become metadata, as strings.

    path: .csv or .tsv (tab), or the same with .gz. text_field, id_field: see
    `fields.choose_fields`.
    """

    path: Path
    text_field: str | Sequence[str] | None = None
    id_field: str | None = None
    chunking: Chunking | None = None
    kind: str = "csv"

    @cached_property
    def hash(self) -> str:
        """Hash of the file's bytes and of the fields that were asked for."""
        return records_hash(self.kind, self.path, self.text_field, self.id_field)

    @cached_property
    def fields(self) -> Fields:
        """Columns that are read, chosen by the header."""
        header = next((row for _, row in self._rows()), [])
        return choose_fields(header, self.text_field, self.id_field)

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents from number `start` on."""
        fields = self.fields
        rows = self._rows()
        header = next((row for _, row in rows), [])
        if len(set(header)) != len(header):
            raise SourceError(f"Columns have different names, got {header} in {self.path}.")
        for count, (number, row) in enumerate(rows):
            if count < start:
                continue
            place = f"{self.path}:{number}"
            if len(row) != len(header):
                raise SourceError(
                    f"Every row has the {len(header)} columns of the header, got {len(row)} at "
                    f"{place}; quote fields that hold the delimiter."
                )
            yield Placed(place, fields.document(dict(zip(header, row, strict=True)), place))

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Number of the last line and fields of every row that is not empty."""
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        lines = (decoded(line, self.path, number) for number, line in numbered_lines(self.path))
        tabs = self.path.name.removesuffix(".gz").endswith(".tsv")
        reader = csv.reader(lines, delimiter="\t" if tabs else ",", strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise SourceError(
                f"{self.path}:{reader.line_num} is not CSV ({error}); double the quotes inside "
                "quoted fields."
            ) from error
