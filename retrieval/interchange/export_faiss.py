"""A store as a faiss index that any faiss user can search with the model's own vectors.

score(q, x) = <q, x^> with x^ the decoded vector, which lies in mean + span(B) for a codec that
reduces dimensions. With an orthonormal basis B of the decoded vectors about their mean,
<q, x^> = <B'q, B'(x^ - mean)> + <q, mean>: the index holds z = B'(x^ - mean) and a 1, its
transform maps q to (B'q, <q, mean>), so that its inner products are the store's scores up to the
rounding of its own storage, and one factor for all documents in a cosine store.
"""

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from attar.stores.reading import StoreReading
from attar.stores.transfer.rows import rows_of
from attar.stores.types import Float32

FORMS = {
    "float32": None,
    "fp16": faiss.ScalarQuantizer.QT_fp16,
    "8bit": faiss.ScalarQuantizer.QT_8bit,
}
NEGLIGIBLE = 1e-5
INDEX, IDS = "index.faiss", "ids.json"


def export_faiss(
    store: StoreReading, target: Path, form: str = "fp16", dims: int | None = None
) -> int:
    """Write the new folder `target` with `index.faiss` and `ids.json` (row -> id).

    form: storage of a coordinate: float32, fp16 (2 bytes) or 8bit. dims: keep that many leading
    dimensions; None keeps all that the codes have. Queries must be unit vectors for a cosine store.
    Returns the bytes of the index file. An l2 store is refused: distances are no inner products.
    """
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}; got {form!r}.")
    if store.metric == "l2" or store.dim is None or not len(store):
        raise ValueError(
            f"An export to faiss needs documents under cosine or ip; this store has {len(store)} "
            f"and the metric {store.metric}."
        )
    if dims is not None and not 1 <= dims <= store.dim:
        raise ValueError(f"dims is between 1 and {store.dim}, got {dims}.")
    mean, basis = basis_of(store, dims)
    names: list[str] = []
    parts: list[Float32] = []
    for rows in rows_of(store, False):
        names += rows.ids
        z = (rows.vectors - mean) @ basis
        parts.append(np.concatenate([z, np.ones((len(z), 1), np.float32)], axis=1))
    inner = _inner(np.concatenate(parts), form)
    transform = faiss.LinearTransform(store.dim, inner.d, False)
    matrix = np.concatenate([basis, mean[:, None]], axis=1).T
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix, np.float32).ravel(), transform.A)
    transform.is_trained = True
    index = faiss.IndexPreTransform(transform, inner)
    index.ntotal = inner.ntotal
    target.mkdir()
    faiss.write_index(index, str(target / INDEX))
    (target / IDS).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    return (target / INDEX).stat().st_size


def _inner(z: Float32, form: str) -> Any:
    kind = FORMS[form]
    inner: faiss.Index
    if kind is None:
        inner = faiss.IndexFlatIP(z.shape[1])
    else:
        inner = faiss.IndexScalarQuantizer(z.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        inner.train(z)
    inner.add(z)
    return inner


def basis_of(store: StoreReading, dims: int | None) -> tuple[Float32, Float32]:
    """Mean [d] and orthonormal basis [d e] of the decoded vectors, most variance first."""
    dim = int(store.dim or 0)
    total, outer, count = np.zeros(dim), np.zeros((dim, dim)), 0
    for rows in rows_of(store, False):
        wide = rows.vectors.astype(np.float64)
        total += wide.sum(axis=0)
        outer += wide.T @ wide
        count += len(wide)
    mean = total / count
    values, vectors = np.linalg.eigh(outer / count - np.outer(mean, mean))
    order = np.argsort(-values)
    kept = max(1, int((values > NEGLIGIBLE**2 * max(values.max(), 1e-30)).sum()))
    width = min(kept, dims or dim)
    return mean.astype(np.float32), vectors[:, order[:width]].astype(np.float32)
