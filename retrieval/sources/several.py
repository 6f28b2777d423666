"""Several files as one corpus: the shards of a large one."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.source import Placed, Source


@final
@dataclass(frozen=True)
class SeveralSource(Source):
    """The documents of all parts, part after part; ids are unique over all of them.

    parts: sources of one kind, in the order of their names.
    """

    parts: tuple[Source, ...]
    _counts: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """That of the parts."""
        return self.parts[0].kind

    @property
    def hash(self) -> str:
        """Hash of the parts' hashes."""
        whole = hashlib.blake2b(digest_size=16)
        for part in self.parts:
            whole.update(f"{part.hash}\n".encode())
        return whole.hexdigest()

    @property
    def chunking(self) -> Chunking | None:
        """That of the parts."""
        return self.parts[0].chunking

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(note for part in self.parts for note in part.notes)

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents from number `start` on; a part that lies before is counted once."""
        for number, part in enumerate(self.parts):
            if start and start >= self._count(number):
                start -= self._count(number)
                continue
            count = start
            for placed in part.read(start):
                count += 1
                yield placed
            self._counts[number] = count
            start = 0

    def _count(self, number: int) -> int:
        if number not in self._counts:
            self._counts[number] = sum(1 for _ in self.parts[number].read())
        return self._counts[number]
