"""What may go into a codec: real, finite, two-dimensional, of one width."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_vectors(x: ArrayLike, what: str, dim: int | None = None) -> NDArray[np.float32]:
    """Return x as C-contiguous float32 [n d]; x itself is never changed.

    `what` names the argument in errors ("documents", "queries"). Accepts any real dtype and any
    strides. Raises ValueError for another shape, another dimension than `dim`, or NaN and infinity
    (the first such row is named).
    """
    array = np.asarray(x)
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise ValueError(f"{what} must be real numbers, got dtype {array.dtype}; pass float32.")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"{what} must have the shape [n d] with d >= 1, got {list(array.shape)}; "
            "pass one vector as x[None, :]."
        )
    if dim is not None and array.shape[1] != dim:
        raise ValueError(
            f"{what} must have the dimension of the codec, {dim}, got {array.shape[1]}; "
            "embed them with the model that the codec was fitted on."
        )
    if array.dtype == np.float32:
        vectors = np.ascontiguousarray(array)
    else:
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(vectors)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise ValueError(
            f"{what} must be finite float32 numbers, got NaN or infinity in row {row}; "
            "remove or re-embed that row."
        )
    return vectors
