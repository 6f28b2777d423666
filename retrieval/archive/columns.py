"""How the arrays of a code become columns of symbols, and back; one class for each kind of code."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.archive.tables import Symbols
from attar.stores.kernels.trellis.reference import state_count, subsets
from attar.stores.layouts.trellis_integers import TrellisIntegers
from attar.stores.layouts.waterfill import Waterfill, parities
from attar.stores.types import Codes, Field

Arrays = dict[str, NDArray[Any]]


class Contexts:
    """Which table the next column uses, row by row: always table 0 without a trellis.

    With one, columns come in reverse order, the table is the quantiser c0 that the state names, and
    a symbol's lowest bit is the parity c1 that moves the state.
    """

    def __init__(self, n: int, taps: tuple[int, int] | None) -> None:
        self._state = np.zeros(n, np.intp)
        self._taps = taps
        self.last_bit = self._state
        if taps:
            self._subset = subsets(taps)[::2]

    def next(self) -> NDArray[np.uint8]:
        """Context of each row, uint8 [n]."""
        if self._taps is None:
            return np.zeros(len(self._state), np.uint8)
        return (self._subset[self._state] & 1).astype(np.uint8)

    def advance(self, symbols: Symbols) -> None:
        """Take note of the column's symbols [n]."""
        if self._taps is not None:
            self.last_bit = (symbols & 1) ^ (self._subset[self._state] >> 1)
            self._state = ((self._state << 1) | self.last_bit) & (state_count(self._taps) - 1)


class Columns(ABC):
    """A lossless map between the arrays of some fields and symbols, column by column.

    Law: `merge(symbols)` with symbols taken from `split(arrays)` are the arrays, bit for bit.
    """

    fields: tuple[Field, ...]
    taps: tuple[int, int] | None = None

    @property
    @abstractmethod
    def count(self) -> int:
        """Columns."""

    @property
    def contexts(self) -> int:
        """Tables per column."""
        return 1 if self.taps is None else 2

    @property
    def order(self) -> range:
        """Order in which columns are coded."""
        return range(self.count) if self.taps is None else range(self.count - 1, -1, -1)

    @abstractmethod
    def split(self, arrays: Arrays) -> Symbols:
        """Arrays of n rows to symbols int32 [columns n]."""

    @abstractmethod
    def merge(self, symbols: Symbols) -> Arrays:
        """Symbols [columns n] to arrays."""


@dataclass(frozen=True)
class ByteColumns(Columns):
    """One field of single bytes: every dimension is a column."""

    fields: tuple[Field, ...]

    @property
    def count(self) -> int:
        """Dimensions of the field."""
        return self.fields[0].width

    def split(self, arrays: Arrays) -> Symbols:
        """Bytes as they are; signed ones keep their order."""
        return arrays[self.fields[0].name].T.astype(np.int32)

    def merge(self, symbols: Symbols) -> Arrays:
        """The bytes again."""
        field = self.fields[0]
        return {field.name: np.ascontiguousarray(symbols.T).astype(field.dtype)}


@dataclass(frozen=True)
class PlaneColumns(Columns):
    """The planes of a waterfill code: symbol 2 v + c1 in the context c0."""

    layout: Waterfill
    fields: tuple[Field, ...]

    @property
    def taps(self) -> tuple[int, int]:  # type: ignore[override]
        """Of the layout."""
        return self.layout.taps

    @property
    def count(self) -> int:
        """Dimensions of the code."""
        return self.layout.dim

    def split(self, arrays: Arrays) -> Symbols:
        """Cells and parities of each dimension."""
        cells, trellis = self.layout.unpack_bits(Codes(arrays))
        parity = parities(trellis, self.layout.taps) >> 1
        return np.ascontiguousarray((2 * cells.astype(np.int32) + parity).T)

    def merge(self, symbols: Symbols) -> Arrays:
        """Follow the states to find the trellis bits again."""
        trellis = np.empty(symbols.shape, np.uint8)
        contexts = Contexts(symbols.shape[1], self.layout.taps)
        for j in self.order:
            contexts.advance(symbols[j])
            trellis[j] = contexts.last_bit
        return dict(self.layout.pack((symbols >> 1).T.astype(np.uint8), trellis.T))


@dataclass(frozen=True)
class TrellisColumns(Columns):
    """The integers of `waterfill:ec`: symbol k in the context of its quantiser."""

    layout: TrellisIntegers
    fields: tuple[Field, ...]

    @property
    def taps(self) -> tuple[int, int]:  # type: ignore[override]
        """Of the layout."""
        return self.layout.taps

    @property
    def count(self) -> int:
        """Dimensions of the code."""
        return self.layout.width

    def split(self, arrays: Arrays) -> Symbols:
        """Integers 2 k or 2 k - sign(k) to k."""
        value = np.concatenate([arrays[f.name].astype(np.int32) for f in self.fields], axis=1).T
        symbols = np.empty(value.shape, np.int32)
        contexts = Contexts(value.shape[1], self.layout.taps)
        for j in self.order:
            symbols[j] = (value[j] + contexts.next() * np.sign(value[j])) >> 1
            contexts.advance(symbols[j])
        return symbols

    def merge(self, symbols: Symbols) -> Arrays:
        """And back."""
        value = np.empty(symbols.shape, np.int32)
        contexts = Contexts(symbols.shape[1], self.layout.taps)
        for j in self.order:
            value[j] = 2 * symbols[j] - contexts.next() * np.sign(symbols[j])
            contexts.advance(symbols[j])
        wide = value.T[:, : self.layout.wide].astype(np.int16)
        narrow = value.T[:, self.layout.wide :].astype(np.int8)
        return {name: a for name, a in (("wide", wide), ("narrow", narrow)) if a.shape[1]}
