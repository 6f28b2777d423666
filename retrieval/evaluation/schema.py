"""The JSON Schema (draft 2020-12) of a comparison, as `compare` returns and `--json` prints it."""

from typing import Any

_NUMBER: dict[str, Any] = {"type": "number"}
_SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    """All of these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_INTERVAL = {"mean": _SHARE, "low": _SHARE, "high": _SHARE}
_OVERLAP = _object(**_INTERVAL, worst_decile=_SHARE)
_JUDGED = _object(
    **_INTERVAL,
    difference=_object(mean=_NUMBER, low=_NUMBER, high=_NUMBER),
    worst_decile=_object(exact=_SHARE, mean=_SHARE),
    flips=_object(better=_COUNT, worse=_COUNT, same=_COUNT),
)
_BYTES = _object(
    per_vector=_COUNT,
    side=_COUNT,
    ratio=_NUMBER,
    totals={
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]+$"},
        "additionalProperties": _COUNT,
    },
)
_COST = _object(
    fit_cpu_seconds=_NUMBER,
    encode_cpu_seconds_per_1000=_NUMBER,
    query_cpu_seconds_per_1000=_NUMBER,
    peak_memory_bytes=_or_null(_COUNT),
)
_ROW = {
    "codec": _TEXT,
    "bytes": _BYTES,
    "overlap": _OVERLAP,
    "top1_changed": _SHARE,
    "nDCG@10": _or_null(_JUDGED),
    "cost": _COST,
    "slices": {
        "type": "object",
        "additionalProperties": _object(queries=_COUNT, overlap=_OVERLAP),
    },
    "alarms": {"type": "array", "items": _TEXT},
}
_TOP = {
    "format": {"const": 1},
    "set": _TEXT,
    "documents": _COUNT,
    "queries": _COUNT,
    "judged": _COUNT,
    "dim": _COUNT,
    "metric": {"enum": ["cosine", "ip", "l2"]},
    "k": _COUNT,
    "fitted_on": _COUNT,
    "seed": {"type": "integer"},
    "interval": _TEXT,
    "float32": _object(**{"bytes_per_vector": _COUNT, "nDCG@10": _or_null(_SHARE)}),
    "codecs": {"type": "array", "minItems": 1, "items": _object(**_ROW)},
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "attar comparison of codecs",
    **_object(**_TOP),
}
