"""Filters as a small tree, so that an engine has to say only a few things.

A leaf is (field, operator, value) with operator one of eq, gt, gte, lt, lte, exists, contains; the
rest of the dialect is And, Or and Not of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LEAVES = {
    "$eq": "eq",
    "$gt": "gt",
    "$gte": "gte",
    "$lt": "lt",
    "$lte": "lte",
    "$contains": "contains",
}


@dataclass(frozen=True)
class Leaf:
    """One comparison."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True)
class All:
    """Every part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: "Condition"


Condition = Leaf | All | AnyOf | Not


def condition(filter: Mapping[str, Any]) -> Condition:
    """The tree of a filter that `check_filter` let through."""
    return _all([_entry(key, value) for key, value in filter.items()])


def _entry(key: str, value: Any) -> Condition:
    if key == "$and":
        return _all([condition(one) for one in value])
    if key == "$or":
        return AnyOf(tuple(condition(one) for one in value))
    if key == "$not":
        return Not(condition(value))
    if isinstance(value, Mapping):
        return _all([_compare(key, operator, other) for operator, other in value.items()])
    return Leaf(key, "eq", value)


def _compare(field: str, operator: str, value: Any) -> Condition:
    if operator in _LEAVES:
        return Leaf(field, _LEAVES[operator], value)
    if operator == "$ne":
        return Not(Leaf(field, "eq", value))
    if operator == "$between":
        return All((Leaf(field, "gte", value[0]), Leaf(field, "lte", value[1])))
    if operator == "$exists":
        there = Leaf(field, "exists", True)
        return there if value else Not(there)
    any_of = AnyOf(tuple(Leaf(field, "eq", one) for one in value))
    return any_of if operator == "$in" else Not(any_of)


def _all(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else All(tuple(parts))
