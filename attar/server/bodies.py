"""Request bodies, JSON or npy, as checked Python values. Only declared errors come out."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request

from attar.stores.filters.dialect import check_filter

NPY = "application/x-npy"
JSON = "application/json"
LARGEST = 1e15
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
    options = _options(body)
    texts, vector = body.get("text"), body.get("vector")
    if texts is None and vector is None:
        raise BadRequest("A search takes vector, text or both; got neither.")
    if "alpha" in options and texts is None:
        raise BadRequest("alpha weighs words against vectors; give the words with text.")
    if isinstance(texts, str):
        texts = [texts]
    if "text" in body and not (_strings(texts) and texts):
        raise BadRequest("text is a string or a list of strings, at least one.")
    documents = body.get("documents", False)
    if not isinstance(documents, bool):
        raise BadRequest("documents is true or false.")
    vectors = _numbers(vector) if "vector" in body else None
    return SearchBody(vectors, texts, options, documents)


def _options(body: dict[str, Any]) -> dict[str, Any]:
    options = {name: body[name] for name in SEARCH_OPTIONS if name in body}
    for name, value in options.items():
        if SEARCH_OPTIONS[name] is int and isinstance(value, float) and value.is_integer():
            # JSON does not tell 3.0 from 3.
            options[name] = value = int(value)
        if not isinstance(value, SEARCH_OPTIONS[name]) or isinstance(value, bool):
            raise BadRequest(f"{name} has another type than {type(value).__name__}.")
    _check_options(options)
    return options


def _check_options(options: dict[str, Any]) -> None:
    for name, least in (("k", 1), ("offset", 0), ("group_size", 1)):
        if options.get(name, least) < least:
            raise BadRequest(f"{name} is at least {least}, got {options[name]}.")
    if not 0 <= options.get("alpha", 0) <= 1:
        raise BadRequest(f"alpha is between 0 and 1, got {options['alpha']}.")
    if "group_size" in options and "group_by" not in options:
        raise BadRequest("group_size needs group_by, the metadata field to group by.")
    if "filter" in options:
        try:
            check_filter(options["filter"])
        except ValueError as error:
            raise BadRequest(str(error)) from None


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
    body = await json_object(request, {"documents", "replace"})
    documents, replace = body.get("documents"), body.get("replace", False)
    if not isinstance(replace, bool):
        raise BadRequest("replace is true or false.")
    if not isinstance(documents, list) or not documents:
        raise BadRequest("documents is a list with at least one document.")
    for document in documents:
        _check_document(document)
    vectors = [document["vector"] for document in documents if "vector" in document]
    if vectors and len(vectors) < len(documents):
        raise BadRequest("Either every document has a vector or none has.")
    return AddBody(
        [document["id"] for document in documents],
        _numbers(vectors) if vectors else None,
        [document.get("text") for document in documents],
        [document.get("metadata") for document in documents],
        replace,
    )


def _check_document(document: object) -> None:
    known = {"id", "vector", "text", "metadata"}
    if not isinstance(document, dict) or not set(document) <= known:
        raise BadRequest(f"A document is an object with {', '.join(sorted(known))}.")
    text, metadata = document.get("text"), document.get("metadata")
    if not _strings([document.get("id")]) or not document["id"]:
        raise BadRequest("A document has an id, a string that is not empty.")
    if not (text is None or _strings([text])):
        raise BadRequest("The text of a document is a string or null.")
    if not (metadata is None or isinstance(metadata, dict)):
        raise BadRequest("The metadata of a document is an object or null.")


async def ids_body(request: Request) -> list[str]:
    """{"ids": [...]}."""
    body = await json_object(request, {"ids"})
    if not _strings(body.get("ids")) or "" in body["ids"]:
        raise BadRequest("ids is a list of strings that are not empty.")
    ids: list[str] = body["ids"]
    return ids


def _strings(value: object) -> bool:
    """Whether it is a list of strings that UTF-8 can write."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return False
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _numbers(value: object) -> Any:
    """A list of numbers, or of such lists of one length, as float32."""
    rows: list[Any] = [value]
    if isinstance(value, list) and value and isinstance(value[0], list):
        rows = value
    for row in rows:
        good = isinstance(row, list) and row and all(type(x) in (int, float) for x in row)
        if not good or len(row) != len(rows[0]):
            raise BadRequest("Vectors are lists of numbers of one length, at least one number.")
        if not all(-LARGEST <= x <= LARGEST for x in row):
            raise BadRequest(f"Vectors hold numbers of at most {LARGEST:g}.")
    return np.array(rows, np.float32)


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
