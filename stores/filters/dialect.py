"""The filter dialect that LangChain and Chroma users know, answered as sets of slots.

    {"field": value}                         the same as {"field": {"$eq": value}}
    {"field": {"$gt": 3, "$lte": 9}}         all of them
    {"a": 1, "b": 2}                         both
    {"$and": [f, …]}  {"$or": [f, …]}  {"$not": f}

$eq $ne $gt $gte $lt $lte $in $nin $between $exists $contains. Comparison is typed: a number is
compared with numbers only, a string (by its UTF-8 bytes) with strings only, true and false with
booleans only. $ne and $nin are the complements of $eq and $in, so a document without the field
matches, as in MongoDB and Chroma. $contains asks for an element of a list. Nested fields are
written with dots.

Fields and values reach SQLite only as parameters of a few fixed statements, so nothing in a filter
can be read as SQL. Statements answer single comparisons; numpy combines their slots.
"""

import math
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.connections import connect
from attar.stores.errors import CorruptStoreError
from attar.stores.filters.attributes import ELEMENT, NUMBER, STRING, typed

Slots = NDArray[np.int64]
DEEPEST = 64
MOST_VALUES = 100_000

_ORDER = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = (*_ORDER, "$eq", "$ne", "$in", "$nin", "$between", "$exists", "$contains")
_SELECT = "SELECT row FROM attributes WHERE key = ? AND type = ? AND value "
_SQL = {sign: f"{_SELECT}{sign} ?" for sign in ("=", ">", ">=", "<", "<=")}
_BETWEEN = _SELECT + "BETWEEN ? AND ?"
_EXISTS = "SELECT DISTINCT row FROM attributes WHERE key = ?"


def matching(
    filter: Mapping[str, Any], connection: sqlite3.Connection, live: Callable[[], Slots]
) -> Slots:
    """Sorted slots of the live documents that match; `live` gives all of them, sorted."""
    return _Question(connection, live).group(filter, 0)


def check_filter(filter: object) -> None:
    """Raise what `matching` would raise, without a catalog."""

    def nothing() -> Slots:
        return np.zeros(0, np.int64)

    connection = connect(":memory:")
    try:
        connection.execute("CREATE TABLE attributes(key, type, value, row)")
        _Question(connection, nothing).group(filter, 0)
    finally:
        connection.close()


class _Question:
    """One filter on its way to slots."""

    def __init__(self, connection: sqlite3.Connection, live: Callable[[], Slots]) -> None:
        self._connection = connection
        self._live = live

    def group(self, filter: object, depth: int) -> Slots:
        """All entries of an object must hold."""
        if not isinstance(filter, Mapping) or not filter:
            raise ValueError(
                f"A filter is a non-empty object like {{'year': {{'$gt': 1999}}}}, got "
                f"{filter!r:.80}."
            )
        if depth > DEEPEST:
            raise ValueError(f"Filters nest at most {DEEPEST} deep. Flatten $and, $or and $not.")
        result: Slots | None = None
        for key, value in filter.items():
            slots = self._entry(key, value, depth)
            result = slots if result is None else np.intersect1d(result, slots, True)
        return np.zeros(0, np.int64) if result is None else result

    def _entry(self, key: object, value: object, depth: int) -> Slots:
        if not isinstance(key, str):
            raise ValueError(f"Fields of a filter are strings, got {key!r:.80}.")
        if key in ("$and", "$or"):
            parts = [self.group(one, depth + 1) for one in _entries(key, value)]
            merge = np.intersect1d if key == "$and" else np.union1d
            result = parts[0]
            for part in parts[1:]:
                result = merge(result, part)
            return result
        if key == "$not":
            return self._complement(self.group(value, depth + 1))
        if key.startswith("$"):
            raise ValueError(
                f"$and, $or and $not stand where fields stand, got {key!r:.80}. Comparisons "
                f"({' '.join(_OPERATORS)}) stand inside a field."
            )
        _check_unicode(key)
        if isinstance(value, Mapping):
            return self._field(key, value)
        return self._compare(key, "$eq", value)

    def _field(self, key: str, comparisons: Mapping[Any, Any]) -> Slots:
        if not comparisons:
            raise ValueError(f"Field {key!r} has an empty comparison; write {{'$eq': value}}.")
        result: Slots | None = None
        for operator, value in comparisons.items():
            slots = self._compare(key, operator, value)
            result = slots if result is None else np.intersect1d(result, slots, True)
        return np.zeros(0, np.int64) if result is None else result

    def _compare(self, key: str, operator: object, value: object) -> Slots:
        if operator not in _OPERATORS:
            raise ValueError(
                f"Field {key!r} is compared with {' '.join(_OPERATORS)}; got {operator!r:.80}."
            )
        if operator in _ORDER:
            kind, bound = _orderable(key, value)
            return self._slots(_SQL[_ORDER[str(operator)]], key, kind, bound)
        if operator in ("$eq", "$ne"):
            same = self._slots(_SQL["="], key, *_scalar(key, value))
            return same if operator == "$eq" else self._complement(same)
        if operator in ("$in", "$nin"):
            any_of = self._any(key, _entries(f"{key}: {operator}", value))
            return any_of if operator == "$in" else self._complement(any_of)
        return self._rare(key, str(operator), value)

    def _rare(self, key: str, operator: str, value: object) -> Slots:
        if operator == "$between":
            return self._between(key, value)
        if operator == "$contains":
            kind, item = _scalar(key, value)
            return self._slots(_SQL["="], key, ELEMENT + kind, item)
        if not isinstance(value, bool):
            raise ValueError(f"$exists takes true or false; field {key!r} has {value!r:.80}.")
        there = self._slots(_EXISTS, key)
        return there if value else self._complement(there)

    def _between(self, key: str, value: object) -> Slots:
        ends = _entries(f"{key}: $between", value)
        if len(ends) != 2:
            raise ValueError(f"$between takes [low, high]; field {key!r} has {len(ends)} values.")
        (kind, low), (other, high) = (_orderable(key, end) for end in ends)
        if kind != other:
            raise ValueError(f"$between takes two numbers or two strings; field {key!r} has both.")
        return self._slots(_BETWEEN, key, kind, low, high)

    def _any(self, key: str, values: list[Any]) -> Slots:
        wanted = {_scalar(key, value) for value in values}
        parts = [self._slots(_SQL["="], key, kind, value) for kind, value in wanted]
        return np.unique(np.concatenate(parts))

    def _slots(self, sql: str, *parameters: object) -> Slots:
        rows = self._connection.execute(sql, parameters).fetchall()
        try:
            return np.unique(np.fromiter((row for (row,) in rows), np.int64, len(rows)))
        except (TypeError, ValueError, OverflowError) as error:
            raise CorruptStoreError(
                f"The index of metadata names a slot that is none ({error}). Run Store.repair."
            ) from None

    def _complement(self, slots: Slots) -> Slots:
        return np.setdiff1d(self._live(), slots, True)


def _entries(what: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{what!r:.80} takes a non-empty list, got {value!r:.80}.")
    if len(value) > MOST_VALUES:
        raise ValueError(f"{what!r:.80} takes at most {MOST_VALUES} entries, got {len(value)}.")
    return list(value)


def _scalar(key: str, value: object) -> tuple[int, int | float | str]:
    if isinstance(value, np.generic):
        value = value.item()
    scalar = typed(value)
    if scalar is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(
            f"Fields are compared with strings, finite numbers, booleans and null; field {key!r} "
            f"has {value!r:.80}. For elements of a list use $contains, for nested fields a dot."
        )
    if isinstance(value, str):
        _check_unicode(value)
    return scalar


def _orderable(key: str, value: object) -> tuple[int, int | float | str]:
    kind, bound = _scalar(key, value)
    if kind not in (NUMBER, STRING):
        raise ValueError(
            f"Only numbers and strings are ordered; field {key!r} has {value!r}. Use $eq."
        )
    return kind, bound


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"A filter holds no lone surrogates, got {text!r:.80}.") from None
