"""Records (JSON objects, table rows) to documents: which fields are id, text and metadata."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attar.retrieval.sources.content import content_hash
from attar.retrieval.sources.source import Document, SourceError

ID_FIELDS = ("_id", "id")
"""Names under which an id is looked for when none is given; the first that is there counts."""


@dataclass(frozen=True)
class Fields:
    """Which fields are read. `text` = the fields joined by a space; the last one is the body.

    id: name of the id's field, a string.
    text: names of the text's fields. The body must be there in every record; the ones before it
    are titles, which may be missing, and which stay in the metadata too.
    """

    id: str
    text: tuple[str, ...]

    def document(self, record: Mapping[str, Any], place: str) -> Document:
        """The document of one record; SourceError names the place."""
        name = valid_id(self._get(record, self.id, place, "id"), place)
        self._get(record, self.text[-1], place, "text")
        parts = [record.get(each) for each in self.text]
        for each, part in zip(self.text, parts, strict=True):
            if part is not None and not isinstance(part, str):
                raise SourceError(
                    f"Text is a string, got {type(part).__name__} in field {each!r} at {place}; "
                    "quote it, or choose another field with text_field."
                )
        text = valid_text(" ".join(part for part in parts if part).strip(), place)
        left_out = (self.id, self.text[-1])
        metadata = {
            key: plain(value)
            for key, value in record.items()
            if key not in left_out and value is not None
        }
        return Document(name, text, metadata)

    def _get(self, record: Mapping[str, Any], field: str, place: str, what: str) -> Any:
        value = record.get(field)
        if value is None:
            raise SourceError(
                f"Every record has the {what} in field {field!r}, got the fields "
                f"{', '.join(map(str, record)) or 'nothing'} at {place}; name the field with "
                f"{what}_field, or remove the record."
            )
        return value


def choose_fields(
    known: Iterable[str],
    text_field: str | Sequence[str] | None,
    id_field: str | None,
) -> Fields:
    """Fields to read: the given ones, else `text` and the first of ID_FIELDS that is known."""
    there = set(known)
    name = id_field or next((each for each in ID_FIELDS if each in there), ID_FIELDS[0])
    return Fields(name, text_names(text_field))


def text_names(text_field: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the text's fields: one, several, or several in one string, "title,text"."""
    text = text_field.split(",") if isinstance(text_field, str) else text_field or ("text",)
    names = tuple(each.strip() for each in text)
    if not all(names):
        raise ValueError(f"text_field names one field or more, got {text_field!r}.")
    return names


def records_hash(
    kind: str, path: Path, text_field: str | Sequence[str] | None, id_field: str | None
) -> str:
    """Hash of a file of records: its bytes and the fields that were asked for decide what is read.

    Which fields were *found* would need a parse, and a damaged file would have no hash.
    """
    return content_hash((kind, id_field or "", *text_names(text_field)), [("", path)])


def valid_id(value: Any, place: str) -> str:
    """The id, if it is a non-empty string that UTF-8 can write."""
    if not isinstance(value, str) or not value:
        raise SourceError(
            f"Ids are non-empty strings, got {value!r} ({type(value).__name__}) at {place}; "
            "write it as a string, in quotes."
        )
    return valid_text(value, place)


def valid_text(text: str, place: str) -> str:
    """The text, if UTF-8 can write it (JSON can spell halves of surrogate pairs)."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SourceError(
                f"Text is valid Unicode, got half a surrogate pair at character {error.start} of "
                f"{place}; write the character itself."
            ) from error
    return text


def plain(value: Any) -> Any:
    """A metadata value as JSON has it; what JSON lacks (dates, decimals, NaN) becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)
