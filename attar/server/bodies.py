"""Request bodies, JSON or npy, as checked Python values. Only declared errors come out."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request

NPY = "application/x-npy"
JSON = "application/json"
SEARCH_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "k": int,
    "filter": dict,
    "alpha": (int, float),
    "offset": int,
    "min_score": (int, float),
    "group_by": str,
    "group_size": int,
}


class BadRequest(ValueError):
    """A body that is not what its route takes; becomes status 400."""


@dataclass(frozen=True)
class SearchBody:
    """A search: vectors [m d] or texts, and options for `Store.search`."""

    vectors: Any | None
    texts: list[str] | None
    options: dict[str, Any]
    documents: bool


async def json_object(request: Request, known: set[str]) -> dict[str, Any]:
    """The body as a JSON object with known keys only."""
    # A page of another origin may send plain text without asking; JSON it may not.
    if _form(request) != JSON:
        raise BadRequest(f"The body is {JSON}, got {_form(request)!r:.80}.")
    try:
        body = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is one JSON object: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest(f"The body is one JSON object, got {type(body).__name__}.")
    unknown = sorted(set(body) - known)
    if unknown:
        raise BadRequest(f"Known keys are {', '.join(sorted(known))}; got {unknown[0]!r:.80}.")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def search_body(request: Request) -> SearchBody:
    """A search from JSON, or from an npy array with k in the query string."""
    if _is_npy(request):
        (vectors,) = _arrays(await request.body(), 1)
        k = request.query_params.get("k", "10")
        if not (k.isascii() and k.isdigit() and len(k) < 10):
            raise BadRequest(f"k is a whole number, got {k!r:.80}.")
        return SearchBody(vectors, None, {"k": int(k)}, False)
    body = await json_object(request, {"vector", "text", "documents", *SEARCH_OPTIONS})
    options = {name: body[name] for name in SEARCH_OPTIONS if body.get(name) is not None}
    for name, value in options.items():
        if not isinstance(value, SEARCH_OPTIONS[name]) or isinstance(value, bool):
            raise BadRequest(f"{name} has another type than {type(value).__name__}.")
    texts, vector = body.get("text"), body.get("vector")
    if texts is None and vector is None:
        raise BadRequest("A search takes vector, text or both; got neither.")
    if isinstance(texts, str):
        texts = [texts]
    if texts is not None and not _strings(texts):
        raise BadRequest("text is a string or a list of strings.")
    documents = body.get("documents", False)
    if not isinstance(documents, bool):
        raise BadRequest("documents is true or false.")
    return SearchBody(None if vector is None else _numbers(vector), texts, options, documents)


@dataclass(frozen=True)
class AddBody:
    """Documents to add or to replace."""

    ids: list[str]
    vectors: Any | None
    texts: list[str | None] | None
    metadata: list[Any] | None
    replace: bool


async def add_body(request: Request) -> AddBody:
    """Documents from JSON, or two npy arrays one after the other: ids (unicode), then vectors."""
    if _is_npy(request):
        ids, vectors = _arrays(await request.body(), 2)
        if ids.dtype.kind != "U" or ids.ndim != 1:
            raise BadRequest("The first array holds ids: one dimension of unicode strings.")
        replace = request.query_params.get("replace", "false") == "true"
        return AddBody(ids.tolist(), vectors, None, None, replace)
    body = await json_object(request, {"ids", "vectors", "texts", "metadata", "replace"})
    for name in ("ids", "texts", "metadata"):
        if not isinstance(body.get(name, []), list | None):
            raise BadRequest(f"{name} is a list, got {type(body[name]).__name__}.")
    if not isinstance(body.get("ids"), list) or not isinstance(body.get("replace", False), bool):
        raise BadRequest("ids is a list of strings, replace is true or false.")
    vectors = body.get("vectors")
    return AddBody(
        body["ids"],
        None if vectors is None else _numbers(vectors),
        body.get("texts"),
        body.get("metadata"),
        body.get("replace", False),
    )


async def ids_body(request: Request) -> list[str]:
    """{"ids": [...]}."""
    body = await json_object(request, {"ids"})
    if not _strings(body.get("ids")):
        raise BadRequest("ids is a list of strings.")
    ids: list[str] = body["ids"]
    return ids


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _numbers(value: object) -> Any:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadRequest("Vectors are lists of numbers of one length.") from None
    if array.ndim not in (1, 2) or not isinstance(value, list):
        raise BadRequest(f"Vectors are lists of numbers, got {array.ndim} dimensions.")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _form(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _is_npy(request: Request) -> bool:
    return _form(request) == NPY


def _arrays(content: bytes, count: int) -> list[Any]:
    """Arrays in npy format, one after the other; nothing is unpickled."""
    stream = io.BytesIO(content)
    try:
        arrays = [np.lib.format.read_array(stream, allow_pickle=False) for _ in range(count)]
    except Exception as error:
        # The reader of numpy raises many kinds of errors for broken headers.
        raise BadRequest(f"The body is {count} npy array(s): {error!s:.200}.") from None
    if stream.read(1):
        raise BadRequest(f"The body is {count} npy array(s), and nothing after them.")
    return arrays
