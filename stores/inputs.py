"""Checks of what people hand to a store; everything is checked before anything is changed."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attar.stores.types import Float32

GREATEST_NORM = 1e18
"""Products of two vectors of this norm still fit into float32 (3.4e38)."""

WIDE_VALUES = 1 << 15
DEEPEST_JSON = 100
TEXTS_AT_ONCE = 1000
METRICS = ("cosine", "ip", "l2")

Metadata = Sequence[Mapping[str, Any] | None]


@dataclass(frozen=True)
class Batch:
    """Checked documents: ids, texts and metadata (JSON text) of the same length."""

    ids: list[str]
    texts: list[str | None]
    metadata: list[str | None]

    def __len__(self) -> int:
        return len(self.ids)


def check_metric(metric: str) -> str:
    """One of the metrics that stores know."""
    if metric not in METRICS:
        raise ValueError(f"A metric is one of {', '.join(METRICS)}; got {metric!r}.")
    return metric


def check_batch(
    ids: Iterable[str], texts: Sequence[str | None] | None, metadata: Metadata | None
) -> Batch:
    """Check ids, texts and metadata of documents that are to be stored."""
    names = check_ids(ids)
    if not names:
        raise ValueError("add and upsert need at least one document, got none. Skip the call.")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ValueError(
            f"Ids are unique; {twice!r} comes twice in this call. Keep one, or give parts of a "
            "document ids of their own."
        )
    bodies = _same_length("texts", texts, len(names))
    _check_texts(bodies, lambda index: f"the text of id {names[index]!r}")
    notes = _same_length("metadata", metadata, len(names))
    if metadata is not None:
        notes = [_json(m, name) for m, name in zip(notes, names, strict=True)]
    return Batch(names, bodies, notes)


def check_revision(
    ids: Iterable[str], texts: Sequence[str | None] | None, metadata: Metadata | None
) -> Batch:
    """Check new texts and metadata of documents that exist."""
    if texts is None and metadata is None:
        raise ValueError("update changes texts=, metadata= or both, got neither.")
    return check_batch(ids, texts, metadata)


def _same_length(what: str, values: Sequence[Any] | None, n: int) -> list[Any]:
    if values is None:
        return [None] * n
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
        raise TypeError(f"{what} is a list with one entry per id, got {type(values).__name__}.")
    if len(values) != n:
        raise ValueError(f"{what} has one entry per id: {n} ids, {len(values)} {what}.")
    return list(values)


def check_ids(ids: Iterable[str]) -> list[str]:
    """Ids are non-empty strings that UTF-8 can write."""
    if isinstance(ids, str | bytes | Mapping):
        raise TypeError(f"ids is a list of strings, got one {type(ids).__name__}; write [id].")
    names = list(ids)
    if set(map(type, names)) - {str} or "" in names:
        _check_each_id(names)
    _check_texts(names, lambda index: f"id {index} ({names[index]!r})")
    return names


def _check_each_id(names: list[str]) -> None:
    """Name the first entry that is no id, and turn subclasses of str into plain strings."""
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(
                f"Ids are strings; entry {index} is {name!r} ({type(name).__name__}). Write "
                "str(id)."
            )
        if not name:
            raise ValueError(f"Ids are not empty; entry {index} is. Give it a name.")
        names[index] = str(name)


def _check_texts(texts: list[Any], what: Callable[[int], str]) -> None:
    """Strings that UTF-8 can write, or None; looked at one by one only when some are not."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        try:
            "".join([text for text in some if text is not None]).encode()
        except (TypeError, UnicodeEncodeError):
            for index, text in enumerate(some, start=start):
                _check_text(text, what(index))


def _check_text(text: object, what: str) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise TypeError(f"Texts are strings or None; {what} is {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Text is Unicode without lone surrogates; {what} has one at {error.start}. Decode "
            "the source with errors='replace'."
        ) from None


def _json(metadata: object, name: str) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise TypeError(
            f"Metadata is a JSON object (a dict) or None; id {name!r} has "
            f"{type(metadata).__name__}."
        )
    try:
        _check_keys(metadata)
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Metadata holds what JSON can write (strings, finite numbers, booleans, null, lists, "
            f"objects with string keys); id {name!r}: {error}."
        ) from None
    return text


def _check_keys(value: object, depth: int = 0) -> None:
    """Refuse keys that json.dumps would quietly turn into strings, and what nests too deeply."""
    if depth > DEEPEST_JSON:
        raise ValueError(f"nested more than {DEEPEST_JSON} deep")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not a string")
            _check_keys(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner, depth + 1)


def as_vectors(vectors: ArrayLike) -> Float32:
    """Documents as an array [n d] of numbers; a float32 memory map stays one."""
    array = _numbers(vectors, "vectors")
    if array.ndim != 2:
        raise ValueError(f"vectors is an array [n d], got {array.ndim} dimensions {array.shape}.")
    return array


def _numbers(values: ArrayLike, what: str) -> Float32:
    try:
        array = np.asarray(values)
        if array.dtype.kind in "cUSMm":
            raise TypeError(f"got {array.dtype}")
        if array.dtype.kind not in "fiub":
            array = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} holds real numbers in rows of one length: {error}.") from None
    if array.dtype != np.float32:
        # What float32 cannot hold becomes inf, which the check of values then names by its row.
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    return array


def check_vectors(
    vectors: Float32, ids: Sequence[str], dim: int | None, cosine: bool
) -> NDArray[np.float64]:
    """Refuse another count or dimension, and values that no score can use; row and id are named.

    Returns the norms [n].
    """
    if len(vectors) != len(ids):
        raise ValueError(f"vectors has one row per id: {len(ids)} ids, {len(vectors)} rows.")
    if vectors.shape[1] == 0:
        raise ValueError("Vectors have at least one dimension, got 0.")
    if dim is not None and vectors.shape[1] != dim:
        raise ValueError(
            f"This store holds vectors of {dim} dimensions, got {vectors.shape[1]}. Use the "
            "encoder that the store was made with, or make another store."
        )
    norms = row_norms(vectors)
    bad, why = unusable(norms, cosine)
    if bad is not None:
        raise ValueError(f"{why}; row {bad} (id {ids[bad]!r}) is not.")
    return norms


def unusable(norms: NDArray[np.float64], cosine: bool) -> tuple[int | None, str]:
    """Index of the first row that no score can use, by its norm, and the rule that it breaks."""
    # Squares of float32 fit into float64, so a norm is finite exactly when its row is.
    finite = np.isfinite(norms)
    if not finite.all():
        return int(np.argmin(finite)), "Vectors are finite (no NaN, no infinity, float32 range)"
    if (norms > GREATEST_NORM).any():
        return int(np.argmax(norms)), f"Vectors have a norm of at most {GREATEST_NORM:g}"
    if cosine and not norms.all():
        return int(np.argmin(norms)), "Vectors of a cosine store are not all zero"
    return None, ""


def row_norms(vectors: Float32) -> NDArray[np.float64]:
    """Euclidean norms [n], summed in float64."""
    norms = np.empty(len(vectors))
    for rows, wide in _wide(vectors):
        norms[rows] = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    return norms


def scaled(vectors: Float32, norm: float, norms: NDArray[np.float64] | None = None) -> Float32:
    """Rows of x [n d] scaled to the given norm; x is not changed and has no zero row.

    norms: those of the rows, where they are known.
    """
    factors = norm / (row_norms(vectors) if norms is None else norms)
    result = vectors * factors.astype(np.float32)[:, None]
    # float32 cannot hold the factor of a tiny row.
    tiny = factors > GREATEST_NORM
    if tiny.any():
        result[tiny] = vectors[tiny] * factors[tiny, None]
    return result


def _wide(vectors: Float32) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """A few rows at a time as float64, so few that they stay in the processor's cache."""
    step = max(1, WIDE_VALUES // max(1, vectors.shape[1]))
    buffer = np.empty((min(step, len(vectors)), vectors.shape[1]))
    for start in range(0, len(vectors), step):
        rows = slice(start, min(start + step, len(vectors)))
        wide = buffer[: rows.stop - start]
        wide[...] = vectors[rows]
        yield rows, wide


def check_queries(vector: ArrayLike, dim: int, cosine: bool) -> Float32:
    """Queries [d] or [m d] as float32 [m d]."""
    queries = _numbers(vector, "vector")
    if queries.ndim == 1 and (len(queries) or dim == 0):
        queries = queries[None]
    elif queries.ndim == 1:
        queries = queries.reshape(0, dim)
    if queries.ndim != 2:
        raise ValueError(f"A query is an array [d] or [m d], got {queries.shape}.")
    if queries.shape[1] != dim:
        raise ValueError(
            f"Queries of this store have {dim} dimensions, got {queries.shape[1]}. Use the "
            "encoder that the store was made with."
        )
    bad, why = unusable(row_norms(queries), cosine)
    if bad is not None:
        raise ValueError(f"{why}; query {bad} is not.")
    return np.ascontiguousarray(queries)


def check_k(k: int) -> int:
    """How many hits: a whole number, at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k is a whole number, got {k!r}.")
    if k < 1:
        raise ValueError(f"k is at least 1, got {k}.")
    return int(k)
