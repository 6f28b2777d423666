"""JSON Lines, plain or gzipped; a BEIR corpus is one with a title."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.content import decoded, numbered_lines
from attar.retrieval.sources.fields import Fields, choose_fields, records_hash
from attar.retrieval.sources.source import Placed, Source, SourceError


@final
@dataclass(frozen=True)
class JsonlSource(Source):
    """One JSON object a line; empty lines do not count. All other fields become metadata.

    path: .jsonl or .jsonl.gz. text_field, id_field: see `fields.choose_fields`.
    """

    path: Path
    text_field: str | Sequence[str] | None = None
    id_field: str | None = None
    chunking: Chunking | None = None
    kind: str = "jsonl"

    @cached_property
    def hash(self) -> str:
        """Hash of the file's bytes and of the fields that were asked for."""
        return records_hash(self.kind, self.path, self.text_field, self.id_field)

    @cached_property
    def fields(self) -> Fields:
        """Fields that are read, chosen by the first record."""
        first = next((record for _, record in json_objects(self.path)), {})
        return choose_fields(first, self.text_field, self.id_field)

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents from number `start` on; lines before are not parsed."""
        fields = self.fields
        for number, record in json_objects(self.path, start):
            place = f"{self.path}:{number}"
            yield Placed(place, fields.document(record, place))


def json_objects(path: Path, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line that is not empty, the first `start` left out."""
    count = 0
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        count += 1
        if count > start:
            yield number, _object(line, path, number)


def _object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(decoded(line, path, number))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(
            f"Every line is a JSON object, got {line[:60]!r} at {path}:{number} ({error}); "
            "correct or remove that line."
        ) from error
    if not isinstance(record, dict):
        raise SourceError(
            f"Every line is a JSON object, got a {type(record).__name__} at {path}:{number}; "
            'write {"_id": …, "text": …}.'
        )
    return record
