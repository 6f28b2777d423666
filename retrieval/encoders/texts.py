"""What goes into an encoder and what may come out of it, checked the same way for all of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_texts(texts: Sequence[str], encoder: str) -> list[str]:
    """Return the texts as a list; TypeError for a single string or an element that is no string."""
    if isinstance(texts, str):
        raise TypeError(
            f"Encoder {encoder!r} takes a sequence of strings, got one string; pass [text]."
        )
    checked = list(texts)
    for row, text in enumerate(checked):
        if not isinstance(text, str):
            raise TypeError(
                f"Encoder {encoder!r} takes strings, got {type(text).__name__} in row {row}; "
                "convert it or remove that row."
            )
    return checked


def checked_vectors(
    vectors: ArrayLike, rows: int, dim: int | None, encoder: str
) -> NDArray[np.float32]:
    """Return what an encoder gave as C-contiguous float32 [rows dim], or raise ValueError.

    `dim=None` accepts any dimension >= 1. NaN and infinity are refused: the first row is named.
    Float32 input is returned as it is, without a copy.
    """
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise ValueError(
            f"Encoder {encoder!r} must return real numbers, got dtype {array.dtype}; "
            "return a float32 array."
        )
    if array.ndim != 2 or array.shape[0] != rows or array.shape[1] == 0:
        raise ValueError(
            f"Encoder {encoder!r} must return the shape [n d], one row a text: expected n = {rows},"
            f" got {list(array.shape)}; return one vector for every text, in order."
        )
    if dim is not None and array.shape[1] != dim:
        raise ValueError(
            f"Encoder {encoder!r} must keep its dimension, {dim}, got {array.shape[1]}; "
            "use one model for all texts."
        )
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(result).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Encoder {encoder!r} must return finite float32 numbers, got NaN or infinity in row "
            f"{int(np.argmin(finite))}; look at that text and at the model's precision."
        )
    return result
