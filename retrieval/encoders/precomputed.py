"""Vectors that were computed elsewhere, looked up by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.encoders.texts import checked_vectors
from attar.retrieval.sources.vector_file import load_ids, load_vectors


@final
@dataclass(frozen=True)
class Precomputed:
    """A `.npy` of vectors [n d] with one id a row: text comes from elsewhere, vectors from here.

    It answers for the documents of its ids (`encode_ids`). It cannot embed a text that it has not
    seen, so `encode_documents` and `encode_queries` raise TypeError and say what to do instead.

    path: the `.npy`, memory-mapped, floating point.
    ids: a .json list of strings or a .txt with one id a line; None looks beside the `.npy` for
    `<stem>_ids.json`, `<stem>_ids.txt`, `ids.json`, `ids.txt` and else takes the row numbers.
    fingerprint: of the model that made the vectors; "" means unknown.
    """

    path: str | Path
    ids: str | Path | None = None
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """What `make_encoder` takes to make this encoder again."""
        return f"precomputed:{self.path}"

    @property
    def dim(self) -> int:
        """Dimensions d of the vectors."""
        return int(self.vectors.shape[1])

    @cached_property
    def vectors(self) -> NDArray[np.floating]:
        """The file's array [n d], memory-mapped and read-only."""
        return load_vectors(Path(self.path))

    def encode_ids(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of these ids, in their order: float32 [m d]; KeyError names an unknown id."""
        try:
            rows = [self._rows[each] for each in ids]
        except KeyError as error:
            raise KeyError(
                f"{self.path} holds {len(self._rows)} vectors and none has the id "
                f"{error.args[0]!r}; embed that document or leave it out."
            ) from None
        return checked_vectors(self.vectors[rows], len(rows), self.dim, self.name)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Not possible: raises TypeError; `encode_ids` has the vectors."""
        self._refuse("documents")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Not possible: raises TypeError; search with `vector=`."""
        self._refuse("queries")

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"Precomputed vectors cannot embed the text of {what}, got {self.path}; search with "
            "vector=…, or attach the encoder that made these vectors."
        )

    @cached_property
    def _rows(self) -> dict[str, int]:
        ids = load_ids(Path(self.path), None if self.ids is None else Path(self.ids))
        count = len(self.vectors)
        if ids is None:
            return {str(row): row for row in range(count)}
        if len(ids) != count:
            raise ValueError(
                f"{self.path} holds {count} vectors and its ids are {len(ids)}; "
                "give one id for every row."
            )
        return {each: row for row, each in enumerate(ids)}
