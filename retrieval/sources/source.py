"""What a corpus is to the rest of the library: documents in a fixed order, and a hash of them."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from attar.retrieval.sources.chunking import Chunking

_DIGEST_BYTES = 16


class SourceError(ValueError):
    """A corpus breaks a rule; the message says which, where, and what to do."""


@dataclass(frozen=True)
class Document:
    """One entry of a corpus. metadata holds JSON values only."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """A document and where it stands, for errors."""

    place: str
    document: Document
    markdown: bool = False


@dataclass(frozen=True)
class Mark:
    """Where a document begins: whole documents before it, and pieces of its own before it."""

    whole: int
    piece: int = 0


class Source(ABC):
    """A corpus that can be read again and again, always in the same order.

    Laws: `list(source) == list(source)`; `list(source.documents(n)) == list(source)[n:]`; memory
    does not grow with the corpus but for 16 bytes of digest an id. A full pass checks everything
    (unique ids, at least one document), so make one before anything is written.
    """

    @property
    @abstractmethod
    def kind(self) -> str:
        """Which reader this is: beir, jsonl, csv, parquet, folder, npy."""

    @property
    @abstractmethod
    def hash(self) -> str:
        """Hex hash of the bytes that are read and of the fields that are taken from them."""

    @property
    @abstractmethod
    def chunking(self) -> Chunking | None:
        """How documents are cut, or None."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader decided and a user should be told."""
        return ()

    @property
    @final
    def chunk(self) -> str:
        """How documents are cut, as a canonical string for a manifest; "" when they are not."""
        return "" if self.chunking is None else self.chunking.spec

    @abstractmethod
    def read(self, start: int = 0) -> Iterator[Placed]:
        """Whole documents from number `start` on, each with its place, not yet checked."""

    @final
    def __iter__(self) -> Iterator[Document]:
        return self.documents()

    @final
    def documents(self, start: int = 0) -> Iterator[Document]:
        """Documents, or their chunks, from number `start` on.

        Skipping is cheap without chunking; with it the documents before are read and cut again.
        Started at 0, a repeated id and an empty corpus are SourceErrors.
        """
        if start < 0:
            raise ValueError(f"start counts documents from 0, got {start}.")
        if start:
            yield from self._skipped(start)
            return
        seen: set[bytes] = set()
        for placed in self._cut(self.read()):
            digest = hashlib.blake2b(placed.document.id.encode(), digest_size=_DIGEST_BYTES)
            if digest.digest() in seen:
                self._repeated(placed)
            seen.add(digest.digest())
            yield placed.document
        if not seen:
            raise SourceError("A corpus has at least one document, got none; look at the path.")

    def _skipped(self, start: int) -> Iterator[Document]:
        rest = self.read(start) if self.chunking is None else self._cut(self.read())
        for number, placed in enumerate(rest, start if self.chunking is None else 0):
            if number >= start:
                yield placed.document

    @final
    def marked(self) -> Iterator[tuple[Mark, Document]]:
        """Every document with its mark, not checked against the others."""
        for whole, placed in enumerate(self.read()):
            for piece, part in enumerate(self.pieces(placed)):
                yield Mark(whole, piece), part.document

    @final
    def pieces(self, placed: Placed) -> Iterator[Placed]:
        """A whole document as it is, or its chunks."""
        if self.chunking is None:
            yield placed
            return
        document = placed.document
        for number, (at, text) in enumerate(self.chunking.cut(document.text, placed.markdown), 1):
            origin = {"chunk_of": document.id, "chunk_start": at, "chunk_end": at + len(text)}
            chunk = Document(f"{document.id}#{number:04d}", text, {**document.metadata, **origin})
            yield Placed(placed.place, chunk)

    def _cut(self, whole: Iterator[Placed]) -> Iterator[Placed]:
        for placed in whole:
            yield from self.pieces(placed)

    def _repeated(self, second: Placed) -> None:
        # Only digests are kept, so the first place is looked up by reading once more.
        name = second.document.id
        first = next(each for each in self._cut(self.read()) if each.document.id == name)
        raise SourceError(
            f"Ids are unique, got {name!r} at {first.place} and at {second.place}; "
            "rename or remove one."
        )
