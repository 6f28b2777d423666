"""The OpenAPI 3.1 document of the server."""

from typing import Any

from attar.server.bodies import NPY
from attar.server.settings import Settings

_STRING = {"type": "string"}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_NUMBER_ROWS = {"type": "array", "items": _NUMBERS}
_IDS = {"type": "object", "required": ["ids"], "additionalProperties": False}
_IDS |= {"properties": {"ids": {"type": "array", "items": _STRING}}}
_METADATA = {"type": ["object", "null"]}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _STRING}}
_BINARY = {NPY: {"schema": {"type": "string", "format": "binary"}}}


def _search_schema(settings: Settings) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["vector"]}, {"required": ["text"]}],
        "properties": {
            "vector": {"anyOf": [_NUMBERS, _NUMBER_ROWS]},
            "text": {"anyOf": [_STRING, {"type": "array", "items": _STRING}]},
            "k": {"type": "integer", "minimum": 1, "maximum": settings.largest_k, "default": 10},
            "filter": {"type": "object", "minProperties": 1},
            "alpha": {"type": "number", "minimum": 0, "maximum": 1},
            "offset": {"type": "integer", "minimum": 0, "default": 0},
            "min_score": {"type": "number"},
            "group_by": _STRING,
            "group_size": {"type": "integer", "minimum": 1},
            "documents": {"type": "boolean", "default": False},
        },
    }


_ADD = {
    "type": "object",
    "required": ["ids"],
    "additionalProperties": False,
    "properties": {
        "ids": {"type": "array", "items": _STRING},
        "vectors": _NUMBER_ROWS,
        "texts": {"type": "array", "items": {"type": ["string", "null"]}},
        "metadata": {"type": "array", "items": _METADATA},
        "replace": {"type": "boolean", "default": False},
    },
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


def description(settings: Settings, writable: bool) -> dict[str, Any]:
    """The document; routes that this server refuses are in it with their refusal."""
    open_ = "200"
    paths = {
        "/health": {"get": _operation("Whether the server answers", open_, _object("status"))},
        "/metrics": {"get": _operation("Prometheus metrics", open_, None)},
        "/v1/info": {"get": _operation("What the store is and costs", open_, _object("n"))},
        "/v1/search": {
            "post": _operation(
                "The k best documents per query",
                open_,
                _object("hits", _ROWS),
                _search_schema(settings),
                binary=True,
            )
        },
        "/v1/documents": {
            "post": _operation(
                "Add or replace documents", "201", _object("added"), _ADD, binary=True
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
    }
    if settings.api_keys:
        scheme = {"type": "http", "scheme": "bearer"}
        document["components"] = {"securitySchemes": {"key": scheme}}
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
    codes = ["401", "429", "500", "503"] + (["400", "403", "413", "507"] if body else [])
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
