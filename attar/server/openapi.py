"""The OpenAPI 3.1 document of the server."""

from typing import Any

from attar.server.bodies import LARGEST, NPY
from attar.server.settings import Settings

_STRING = {"type": "string"}
_ID = {"type": "string", "minLength": 1}
_IDS = {"type": "object", "required": ["ids"], "additionalProperties": False}
_IDS |= {"properties": {"ids": {"type": "array", "items": _ID}}}
_FILTER_REF = {"$ref": "#/components/schemas/Filter"}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_ORDERED = {"type": ["string", "number"]}
_SCALARS = {"type": "array", "items": _SCALAR, "minItems": 1}
_FILTERS = {"type": "array", "items": _FILTER_REF, "minItems": 1}
_PAIR = {"type": "array", "minItems": 2, "maxItems": 2}
_BETWEEN = [_PAIR | {"items": {"type": "number"}}, _PAIR | {"items": _STRING}]
_COMPARISON = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": dict.fromkeys(("$eq", "$ne", "$contains"), _SCALAR)
    | dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), _ORDERED)
    | dict.fromkeys(("$in", "$nin"), _SCALARS)
    | {"$between": {"anyOf": _BETWEEN}, "$exists": {"type": "boolean"}},
}
_FILTER = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {"$and": _FILTERS, "$or": _FILTERS, "$not": _FILTER_REF},
    "patternProperties": {"^([^$]|$)": {"anyOf": [_SCALAR, _COMPARISON]}},
}
_METADATA = {"type": ["object", "null"]}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _STRING}}
_BINARY = {NPY: {"schema": {"type": "string", "format": "binary"}}}


def _vector(dim: int | None, metric: str) -> dict[str, Any]:
    """A vector of this store."""
    number = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
    schema: dict[str, Any] = {"type": "array", "items": number, "minItems": 1}
    if dim is not None:
        schema |= {"minItems": dim, "maxItems": dim}
    if metric == "cosine":
        schema["contains"] = {"anyOf": [{"minimum": 1e-15}, {"maximum": -1e-15}]}
    return schema


def _search_schema(settings: Settings, vector: dict[str, Any]) -> dict[str, Any]:
    strings = {"type": "array", "items": _STRING, "minItems": 1}
    return {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["vector"]}, {"required": ["text"]}],
        "dependentRequired": {"alpha": ["text"], "group_size": ["group_by"]},
        "properties": {
            "vector": {"anyOf": [vector, {"type": "array", "items": vector, "minItems": 1}]},
            "text": {"anyOf": [_STRING, strings]},
            "k": {"type": "integer", "minimum": 1, "maximum": settings.largest_k, "default": 10},
            "filter": _FILTER_REF,
            "alpha": {"type": "number", "minimum": 0, "maximum": 1},
            "offset": {
                "type": "integer",
                "minimum": 0,
                "maximum": settings.largest_k,
                "default": 0,
            },
            "min_score": {"type": "number"},
            "group_by": _STRING,
            "group_size": {"type": "integer", "minimum": 1},
            "documents": {"type": "boolean", "default": False},
        },
    }


def _add_schema(vector: dict[str, Any]) -> dict[str, Any]:
    rest = {"text": {"type": ["string", "null"]}, "metadata": _METADATA}
    embedded = {"type": "object", "required": ["id"], "additionalProperties": False}
    embedded |= {"properties": {"id": _ID} | rest}
    given = {"type": "object", "required": ["id", "vector"], "additionalProperties": False}
    given |= {"properties": {"id": _ID, "vector": vector} | rest}
    lists = [{"type": "array", "items": one, "minItems": 1} for one in (given, embedded)]
    return {
        "type": "object",
        "required": ["documents"],
        "additionalProperties": False,
        "properties": {"documents": {"anyOf": lists}, "replace": {"type": "boolean"}},
    }


_HIT = {
    "type": "object",
    "required": ["id", "score"],
    "properties": {
        "id": _STRING,
        "score": {"type": "number"},
        "text": {"type": ["string", "null"]},
        "metadata": _METADATA,
    },
}
_ROWS = {"type": "array", "items": {"type": "array", "items": _HIT}}
_DOCUMENT = {
    "type": "object",
    "required": ["id", "text", "metadata"],
    "properties": {"id": _STRING, "text": {"type": ["string", "null"]}, "metadata": _METADATA},
}


def description(settings: Settings, dim: int | None, metric: str) -> dict[str, Any]:
    """The document for a store of this dimension and metric."""
    open_ = "200"
    vector = _vector(dim, metric)
    paths = {
        "/health": {"get": _operation("Whether the server answers", open_, _object("status"))},
        "/metrics": {"get": _operation("Prometheus metrics", open_, None)},
        "/v1/info": {"get": _operation("What the store is and costs", open_, _object("n"))},
        "/v1/search": {
            "post": _operation(
                "The k best documents per query",
                open_,
                _object("hits", _ROWS),
                _search_schema(settings, vector),
                binary=True,
            )
        },
        "/v1/documents": {
            "post": _operation(
                "Add or replace documents",
                "201",
                _object("added"),
                _add_schema(vector),
                binary=True,
            )
        },
        "/v1/documents/get": {
            "post": _operation(
                "Documents by id",
                open_,
                _object("documents", {"type": "array", "items": _DOCUMENT}),
                _IDS,
            )
        },
        "/v1/documents/delete": {
            "post": _operation("Delete documents", open_, _object("deleted"), _IDS)
        },
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "attar", "version": "1"},
        "paths": paths,
        "components": {"schemas": {"Filter": _FILTER}},
    }
    if settings.api_keys:
        scheme = {"type": "http", "scheme": "bearer"}
        document["components"]["securitySchemes"] = {"key": scheme}
        document["security"] = [{"key": []}]
    return document


def _object(key: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": [key], "properties": {key: schema or {}}}


def _operation(
    summary: str,
    status: str,
    answer: dict[str, Any] | None,
    body: dict[str, Any] | None = None,
    binary: bool = False,
) -> dict[str, Any]:
    content: dict[str, Any] = {"text/plain": {"schema": _STRING}}
    if answer is not None:
        content = {"application/json": {"schema": answer}}
    wrong = {"description": "What went wrong", "content": {"application/json": {"schema": _ERROR}}}
    codes = ["401", "429", "500", "503"] + (["400", "403", "409", "413", "507"] if body else [])
    responses: dict[str, Any] = {status: {"description": "Done", "content": content}}
    responses |= dict.fromkeys(codes, wrong)
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        forms: dict[str, Any] = {"application/json": {"schema": body}}
        operation["requestBody"] = {
            "required": True,
            "content": forms | (_BINARY if binary else {}),
        }
    return operation
