"""LlamaIndex's metadata filters in the dialect of `Store.search`; the rest is a ValueError."""

from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

Filter = dict[str, Any]

_DIRECT = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.CONTAINS: "$contains",
}


def translate(filters: MetadataFilters | None) -> Filter | None:
    """Filters as one of ours, None for none; nested ones too."""
    if filters is None or not filters.filters:
        return None
    parts = [
        nested
        for one in filters.filters
        if (nested := translate(one) if isinstance(one, MetadataFilters) else _one(one)) is not None
    ]
    if not parts:
        return None
    if filters.condition == FilterCondition.OR:
        return {"$or": parts}
    if filters.condition == FilterCondition.NOT:
        # LlamaIndex: none of them matches.
        return {"$not": {"$or": parts}}
    return {"$and": parts}


def both(*filters: Filter | None) -> Filter | None:
    """All that are not None."""
    parts = [one for one in filters if one is not None]
    return {"$and": parts} if parts else None


def _one(filter: MetadataFilter) -> Filter:
    operator, value = filter.operator, filter.value
    if operator in _DIRECT:
        return {filter.key: {_DIRECT[operator]: value}}
    if operator in (FilterOperator.ANY, FilterOperator.ALL):
        items = value if isinstance(value, list) else [value]
        parts = [{filter.key: {"$contains": item}} for item in items]
        return {"$or" if operator == FilterOperator.ANY else "$and": parts}
    raise ValueError(
        f"Filters compare whole values; the operator {operator.value!r} (field {filter.key!r}) "
        f"looks inside them. Use one of {' '.join(o.value for o in _DIRECT)} any all."
    )
