"""What the thin adapters over faiss share: an index, and perhaps a rotation in front of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.retrieval.quantizer import FittedQuantizer
from attar.retrieval.quantizers.vector_scale import rms_unit
from attar.retrieval.reducer import State
from attar.stores.layouts.faiss_codes import FaissCodes
from attar.stores.types import Codes, Float32, Query


def random_rotation(width: int, seed: int) -> Float32:
    """The orthogonal matrix [e e] of faiss' RandomRotationMatrix, columns are new axes."""
    import faiss

    rotation = faiss.RandomRotationMatrix(width, width)
    rotation.init(seed)
    return transform_matrix(rotation)


def transform_matrix(transform: Any) -> Float32:
    """Matrix [d_in d_out] of a faiss LinearTransform, so that it maps x to x @ matrix."""
    import faiss

    flat = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
    return np.ascontiguousarray(flat.T, dtype=np.float32)


def serialized(index: Any) -> bytes:
    """The bytes of an empty trained index."""
    import faiss

    return bytes(faiss.serialize_index(index).tobytes())


def layout_of(index: Any, scaled: bool = False) -> FaissCodes:
    """The layout of the codes of a trained index."""
    return FaissCodes(serialized(index), int(index.d), int(index.sa_code_size()), scaled)


@dataclass(frozen=True)
class FittedFaiss(FittedQuantizer):
    """Rotate, where there is a rotation, then let faiss encode; queries are only rotated.

    rotation: float32 [e e] with orthonormal columns, or None. unit: what factors are measured in,
    for indexes of unit vectors (then the factor is the norm); 1 otherwise.
    """

    layout: FaissCodes
    rotation: Float32 | None = None
    unit: float = 1.0

    def encode(self, z: Float32) -> Codes:
        """The index' `sa_encode`."""
        z = self._rotate(z)
        if not self.layout.scaled:
            return Codes({"code": self._codes(z)})
        norm = np.linalg.norm(z, axis=1, keepdims=True)
        unit_rows = np.divide(z, norm, out=np.zeros_like(z), where=norm > 0)
        with np.errstate(over="ignore"):
            factor = (norm / np.float32(self.unit)).astype(np.float16)
        if np.isinf(factor).any():
            row = int(np.argmax(np.isinf(factor)))
            raise ValueError(
                "A vector's norm must fit float16 in units of the fitted data, got "
                f"{float(norm[row, 0]):g} in row {row} where {self.unit:g} is typical; remove the "
                "outlier, or fit the codec on data that holds such vectors."
            )
        return Codes({"code": self._codes(unit_rows), "factor": factor})

    def _codes(self, z: Float32) -> np.ndarray:
        if len(z) == 0:
            return np.zeros((0, self.layout.code_size), np.uint8)
        codes: np.ndarray = self.layout.index.sa_encode(np.ascontiguousarray(z))
        return codes

    def _rotate(self, z: Float32) -> Float32:
        return z if self.rotation is None else z @ self.rotation

    def decode(self, codes: Codes) -> Float32:
        """Levels, rotated back."""
        levels = self.layout.unpack(codes)
        z = levels.y * (levels.factor * np.float32(self.unit))[:, None]
        return z if self.rotation is None else z @ self.rotation.T

    def prepare(self, q: Float32) -> Query:
        """Rotate and fold the unit in."""
        coords = self._rotate(q) * np.float32(self.unit)
        return Query(coords, np.zeros(len(q), np.float32))

    def state(self) -> State:
        """The index, the rotation and the unit, where there are any."""
        state: State = {"index": np.frombuffer(self.layout.content, np.uint8)}
        if self.rotation is not None:
            state["rotation"] = self.rotation
        if self.layout.scaled:
            state["unit"] = np.array([self.unit])
        return state


def restore_faiss(state: State, scaled: bool = False) -> FittedFaiss:
    """The fitted adapter that `state` was taken from. Raises ValueError for a broken index."""
    import faiss

    content = state["index"].astype(np.uint8, copy=False)
    try:
        index = faiss.deserialize_index(np.ascontiguousarray(content))
    except RuntimeError as error:
        raise ValueError(
            f"The codec file must hold an index that faiss {faiss.__version__} reads, got an "
            "error; open it with the version of faiss that wrote it, or build the store again."
        ) from error
    rotation = state["rotation"].astype(np.float32, copy=False) if "rotation" in state else None
    unit = float(state["unit"][0]) if scaled else 1.0
    return FittedFaiss(layout_of(index, scaled), rotation, unit)


def norm_unit(z: Float32) -> float:
    """The typical norm of the rows of z, as a power of two."""
    return rms_unit(np.linalg.norm(z, axis=1, keepdims=True).astype(np.float32))
