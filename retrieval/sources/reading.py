"""One function for every kind of corpus: the path says which reader."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

from attar.retrieval.extras import require
from attar.retrieval.sources.beir import beir_corpus, find_jsonl
from attar.retrieval.sources.chunking import Chunking, parse_chunking
from attar.retrieval.sources.delimited import DelimitedSource
from attar.retrieval.sources.extract import READERS
from attar.retrieval.sources.folder import FolderSource
from attar.retrieval.sources.jsonl import JsonlSource
from attar.retrieval.sources.npy import NpySource
from attar.retrieval.sources.parquet import ParquetSource
from attar.retrieval.sources.remote import CACHE, RemoteSource, fetched
from attar.retrieval.sources.several import SeveralSource
from attar.retrieval.sources.source import Source, SourceError

_RECORDS: dict[str, type[JsonlSource] | type[DelimitedSource] | type[ParquetSource]] = {
    ".jsonl": JsonlSource,
    ".jsonl.gz": JsonlSource,
    ".csv": DelimitedSource,
    ".csv.gz": DelimitedSource,
    ".tsv": DelimitedSource,
    ".tsv.gz": DelimitedSource,
    ".parquet": ParquetSource,
}
GLOB = re.compile(r"[*?\[]")
_KINDS = (
    "a BEIR folder, a folder of " + " ".join(READERS) + ", or a file .jsonl .csv .tsv (or .gz of "
    "these) .parquet .npy " + " ".join(READERS)
)


def read_source(
    path: str | Path,
    *,
    chunk: str | int | Chunking | None = None,
    tokenizer: str | Path | None = None,
    text_field: str | Sequence[str] | None = None,
    id_field: str | None = None,
    ids: str | Path | None = None,
    skip_unreadable: bool = False,
) -> Source:
    """Make the source of a path; nothing but its first record is read yet.

    path: a BEIR folder (it has corpus.jsonl[.gz]), another folder, or a file; its name decides.
    A pattern such as `corpus/*.parquet` is several files, in the order of their names; a URI
    (`s3://…`, `https://…`) is copied here first, through fsspec.
    chunk: "1000", "1000/100" (characters, overlap) or "254tokens/32"; None keeps documents whole.
    tokenizer: tokenizer.json for chunks of tokens.
    text_field, id_field: of JSON Lines, CSV and Parquet; "title,text" joins fields.
    ids: of a `.npy`. skip_unreadable: leave unreadable files of a folder out.
    An option that does not apply to the kind is an error, as is an unknown kind (SourceError).
    """
    options: dict[str, Any] = {
        "chunk": chunk,
        "tokenizer": tokenizer,
        "text_field": text_field,
        "id_field": id_field,
        "ids": ids,
        "skip_unreadable": skip_unreadable,
    }
    if "://" in str(path):
        return _remote(str(path), options)
    if GLOB.search(str(path)) and not Path(path).exists():
        return _several(str(path), options)
    place = Path(path)
    chunking = parse_chunking(chunk, tokenizer)
    given = {
        "chunk": chunking is not None,
        "text_field": text_field is not None,
        "id_field": id_field is not None,
        "ids": ids is not None,
        "skip_unreadable": skip_unreadable,
    }
    if not place.exists():
        raise SourceError(f"A source is {_KINDS}; got {place}, which does not exist.")
    if place.is_dir():
        if corpus := find_jsonl(place, "corpus"):
            _only(given, place, "chunk")
            return beir_corpus(corpus, chunking)
        _only(given, place, "chunk", "skip_unreadable")
        return FolderSource(place, chunking, skip_unreadable)
    reader = next((make for end, make in _RECORDS.items() if place.name.endswith(end)), None)
    if reader is not None:
        _only(given, place, "chunk", "text_field", "id_field")
        return reader(place, text_field, id_field, chunking)
    if place.suffix == ".npy":
        _only(given, place, "ids")
        return NpySource(place, None if ids is None else Path(ids))
    if place.suffix.lower() in READERS:
        _only(given, place, "chunk", "skip_unreadable")
        return FolderSource(place, chunking, skip_unreadable)
    raise SourceError(f"A source is {_KINDS}; got {place}. Rename or convert it.")


def _remote(uri: str, options: dict[str, Any]) -> Source:
    if GLOB.search(uri.partition("://")[2]):
        system, root = require("fsspec", "remote").url_to_fs(uri)
        names = [system.unstrip_protocol(name) for name in sorted(system.glob(root))]
        return _joined(uri, [_remote(name, options) for name in names])
    opened: Callable[..., Source] = partial(read_source, **options)
    if uri.endswith(".npy"):
        return opened(fetched(uri, CACHE))
    return RemoteSource(uri, opened)


def _several(pattern: str, options: dict[str, Any]) -> Source:
    names = sorted(glob(pattern, recursive=True))
    return _joined(pattern, [read_source(name, **options) for name in names])


def _joined(pattern: str, parts: list[Source]) -> Source:
    if not parts:
        raise SourceError(f"No file is named like {pattern}; look at the pattern.")
    if any(isinstance(part, NpySource) for part in parts):
        raise SourceError(f"Vectors are read from one .npy, got {pattern}; join the arrays.")
    return parts[0] if len(parts) == 1 else SeveralSource(tuple(parts))


def _only(given: dict[str, bool], place: Path, *known: str) -> None:
    if wrong := [name for name, there in given.items() if there and name not in known]:
        raise SourceError(
            f"{place} is read with {', '.join(known)}, got {', '.join(wrong)}; leave it out."
        )
