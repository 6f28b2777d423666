"""Haystack's filters in the dialect of `Store.search`; what it cannot say is a FilterError.

Haystack compares dates by their time; here they are compared as text, which is the same for dates
of one spelling (all with the same offset, or all without).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from haystack.errors import FilterError

from attar.stores.filters.dialect import check_filter

Filter = dict[str, Any]

_ORDER = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_COMPARISONS = ("==", "!=", *_ORDER, "in", "not in")
_EVERYTHING: Filter = {"$or": [{"-": {"$exists": True}}, {"-": {"$exists": False}}]}
_NOTHING: Filter = {"$not": _EVERYTHING}


def translate(filters: object) -> Filter:
    """A Haystack filter as one of ours. Raises FilterError with the rule that it breaks."""
    result = _node(filters)
    try:
        check_filter(result)
    except ValueError as error:
        raise FilterError(str(error)) from error
    return result


def _node(filters: object) -> Filter:
    if not isinstance(filters, Mapping):
        raise FilterError(f"A filter is a dictionary, got {type(filters).__name__}.")
    return _comparison(filters) if "field" in filters else _logic(filters)


def _logic(node: Mapping[str, Any]) -> Filter:
    for key in ("operator", "conditions"):
        if key not in node:
            raise FilterError(f"{key!r} key missing in {dict(node)!r:.200}.")
    operator = node["operator"]
    if operator not in ("AND", "OR", "NOT"):
        raise FilterError(f"Logical operators are AND, OR and NOT, got {operator!r}.")
    parts = [_node(condition) for condition in node["conditions"]]
    if operator == "OR":
        return {"$or": parts} if parts else _NOTHING
    every: Filter = {"$and": parts} if parts else _EVERYTHING
    return {"$not": every} if operator == "NOT" else every


def _comparison(node: Mapping[str, Any]) -> Filter:
    for key in ("operator", "value"):
        if key not in node:
            raise FilterError(f"{key!r} key missing in {dict(node)!r:.200}.")
    field, operator, value = str(node["field"]), node["operator"], node["value"]
    if field in ("id", "content", "blob", "embedding", "sparse_embedding", "score"):
        raise FilterError(
            f"Filters look at metadata, got the field {field!r}. Keep a copy of it in meta."
        )
    field = field.removeprefix("meta.")
    if operator not in _COMPARISONS:
        raise FilterError(f"Comparisons are {' '.join(_COMPARISONS)}, got {operator!r}.")
    if operator in _ORDER:
        return _ordered(field, str(operator), value)
    if operator in ("==", "!="):
        same = _equal(field, value)
        return same if operator == "==" else {"$not": same}
    if not isinstance(value, list):
        raise FilterError(f"{operator!r} takes a list, got {type(value).__name__} for {field!r}.")
    any_of = {"$or": [_equal(field, one) for one in value]} if value else _NOTHING
    return any_of if operator == "in" else {"$not": any_of}


def _equal(field: str, value: Any) -> Filter:
    if value is None:
        return {"$or": [{field: {"$exists": False}}, {field: {"$eq": None}}]}
    return {field: {"$eq": value}}


def _ordered(field: str, operator: str, value: Any) -> Filter:
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise FilterError(
                f"Strings are only comparable if they are ISO formatted dates; {field!r} "
                f"{operator} {value!r:.80} is not."
            ) from None
    return {field: {_ORDER[operator]: value}}
