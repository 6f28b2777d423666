"""Probability tables of symbol columns, and the range coder that uses them.

A column's symbol s is split into s >> shift, which has a table for each context, and `shift` low
bits, which are coded as they are: at many bits a coordinate the low ones are uniform, and tables
of at most MOST entries cost little. A table is the smallest symbol, the number of symbols, and a
byte b each, probability 2^(-b/16); bytes are exact whatever the platform, floats are not.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
MOST = 48
_TABLE = struct.Struct("<iH")


@dataclass(frozen=True)
class Table:
    """Symbols low … low + len(cost) - 1; cost uint8: -16 log2 of each probability, 255 for less."""

    low: int
    cost: NDArray[np.uint8]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Integers proportional to the probabilities, at least 1."""
        return np.maximum(np.rint(2.0 ** (20 - self.cost.astype(np.float64) / 16)), 1)


EMPTY = Table(0, np.zeros(0, np.uint8))


@dataclass(frozen=True)
class Tables:
    """shift uint8 [columns]; tables by column and context."""

    shift: NDArray[np.uint8]
    tables: tuple[tuple[Table, ...], ...]

    def dump(self) -> bytes:
        """Shifts, then per column and context low i32, size u16 and the costs."""
        parts = [self.shift.tobytes()]
        for column in self.tables:
            for table in column:
                parts.append(_TABLE.pack(table.low, len(table.cost)) + table.cost.tobytes())
        return b"".join(parts)

    @classmethod
    def load(cls, content: bytes, columns: int, contexts: int) -> "Tables":
        """Read what `dump` wrote."""
        shift, at = np.frombuffer(content, np.uint8, columns), columns
        tables = []
        for _ in range(columns):
            row = []
            for _ in range(contexts):
                low, size = _TABLE.unpack_from(content, at)
                at += _TABLE.size
                row.append(Table(low, np.frombuffer(content, np.uint8, size, at)))
                at += size
            tables.append(tuple(row))
        return cls(shift, tuple(tables))


class Histogram:
    """Counts of the symbols of one column, by context."""

    def __init__(self, contexts: int) -> None:
        self._counts: list[dict[int, int]] = [{} for _ in range(contexts)]

    def add(self, symbols: Symbols, context: NDArray[np.uint8]) -> None:
        """Count symbols [n] in their contexts [n]."""
        for number, counts in enumerate(self._counts):
            chosen = symbols if len(self._counts) == 1 else symbols[context == number]
            for value, count in zip(*np.unique(chosen, return_counts=True), strict=True):
                counts[int(value)] = counts.get(int(value), 0) + int(count)

    def tables(self) -> tuple[int, tuple[Table, ...]]:
        """The shift that leaves at most MOST symbols, and the tables."""
        every = [value for counts in self._counts for value in counts]
        shift = 0
        while every and (max(every) >> shift) - (min(every) >> shift) >= MOST:
            shift += 1
        return shift, tuple(_table(counts, shift) for counts in self._counts)


def _table(counts: dict[int, int], shift: int) -> Table:
    if not counts:
        return EMPTY
    values = np.array(list(counts), np.int64) >> shift
    low = int(values.min())
    total = np.bincount(values - low, weights=np.array(list(counts.values()), float))
    with np.errstate(divide="ignore"):
        cost = np.rint(-16 * np.log2(total / total.sum()))
    return Table(low, np.minimum(cost, 255).astype(np.uint8))


class ColumnEncoder:
    """Range-codes columns one after the other into one stream."""

    def __init__(self, tables: Tables) -> None:
        from constriction import stream  # type: ignore[import-untyped]

        self._tables, self._coder = tables, stream.queue.RangeEncoder()

    def put(self, column: int, symbols: Symbols, context: NDArray[np.uint8]) -> None:
        """Code symbols [n] of a column; context [n] numbers the table of each."""
        shift = int(self._tables.shift[column])
        tables = self._tables.tables[column]
        for number, table in enumerate(tables):
            chosen = symbols if len(tables) == 1 else symbols[context == number]
            if len(chosen) and len(table.cost) > 1:
                high = ((chosen >> shift) - table.low).astype(np.int32)
                self._coder.encode(np.ascontiguousarray(high), _categorical(table))
        if shift:
            low = np.ascontiguousarray(symbols & ((1 << shift) - 1), np.int32)
            self._coder.encode(low, _uniform(shift))

    def finish(self) -> bytes:
        """All bytes of the stream."""
        return np.asarray(self._coder.get_compressed()).astype("<u4").tobytes()


class ColumnDecoder:
    """Reads the columns back in the same order."""

    def __init__(self, tables: Tables, content: bytes) -> None:
        from constriction import stream

        words = np.frombuffer(content, "<u4").astype(np.uint32)
        self._tables, self._coder = tables, stream.queue.RangeDecoder(words)

    def take(self, column: int, context: NDArray[np.uint8]) -> Symbols:
        """Symbols [n] of a column in the contexts [n]."""
        shift = int(self._tables.shift[column])
        tables = self._tables.tables[column]
        symbols = np.zeros(len(context), np.int32)
        for number, table in enumerate(tables):
            rows = np.flatnonzero(context == number)
            if len(rows) and len(table.cost) > 1:
                high = self._decode(_categorical(table), len(rows)) + table.low
                symbols[rows] = high << shift
            elif len(rows):
                symbols[rows] = table.low << shift
        if shift and len(symbols):
            symbols |= self._decode(_uniform(shift), len(symbols))
        return symbols

    def _decode(self, model: object, count: int) -> Symbols:
        try:
            return np.asarray(self._coder.decode(model, count), np.int32)
        except AssertionError as error:
            raise ValueError(
                f"The archive is damaged: {error} Restore it from a backup."
            ) from error


def _categorical(table: Table) -> object:
    from constriction import stream

    return stream.model.Categorical(table.weights, perfect=False)


def _uniform(bits: int) -> object:
    from constriction import stream

    return stream.model.Uniform(1 << bits)
