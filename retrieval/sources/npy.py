"""Vectors that exist already: a `.npy` and ids."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.content import content_hash
from attar.retrieval.sources.source import Document, Placed, Source, SourceError
from attar.retrieval.sources.vector_file import find_ids, load_ids, load_vectors


@final
@dataclass(frozen=True)
class NpySource(Source):
    """Rows of a memory-mapped `.npy` [n d], any float dtype, under their ids; texts are empty.

    path: the `.npy`. ids: a .json list or a .txt with one id a line; None looks beside the `.npy`
    (see `vector_file.find_ids`) and else takes the row numbers, which `notes` says.
    """

    path: Path
    ids: Path | None = None
    kind: str = "npy"

    @property
    def chunking(self) -> Chunking | None:
        """Vectors are not cut."""
        return None

    @cached_property
    def hash(self) -> str:
        """Hash of the vectors' file and of the file with the ids."""
        place = self.ids or find_ids(self.path)
        files = [("vectors", self.path)] + ([("ids", place)] if place else [])
        return content_hash((self.kind,), files)

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the ids come from, when they are made up."""
        if self._ids is not None:
            return ()
        return (f"{self.path} has no file with ids: the ids are the row numbers 0, 1, 2, …",)

    @cached_property
    def vectors(self) -> NDArray[np.floating]:
        """The array [n d], memory-mapped and read-only, not checked for NaN."""
        return load_vectors(self.path)

    @property
    def dim(self) -> int:
        """Dimensions d."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def ids_between(self, start: int, stop: int) -> list[str]:
        """Ids of the rows start, …, stop - 1."""
        stop = min(stop, len(self))
        return list(map(str, range(start, stop))) if self._ids is None else self._ids[start:stop]

    def blocks(
        self, start: int = 0, rows: int = 8192
    ) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and float32 [b d] from row `start` on; SourceError names a row that is not finite."""
        for first in range(start, len(self), rows):
            ids = self.ids_between(first, first + rows)
            with np.errstate(over="ignore"):
                block = np.array(self.vectors[first : first + rows], np.float32)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                row = int(np.argmin(finite))
                raise SourceError(
                    f"Vectors are finite float32 numbers, got NaN or infinity in row {first + row} "
                    f"(id {ids[row]!r}) of {self.path}; remove or re-embed that row."
                )
            yield ids, block

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents without text from row `start` on; their vectors are checked on the way."""
        number = start
        for ids, _ in self.blocks(start):
            for each in ids:
                yield Placed(f"{self.path}, row {number}", Document(each, ""))
                number += 1

    @cached_property
    def _ids(self) -> list[str] | None:
        ids = load_ids(self.path, self.ids)
        if ids is not None and len(ids) != len(self):
            raise SourceError(
                f"{self.path} has {len(self)} rows and {self.ids or find_ids(self.path)} has "
                f"{len(ids)} ids; give one id for every row."
            )
        return ids
