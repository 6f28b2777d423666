"""RaBitQ, by faiss."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from attar.retrieval.quantizer import FitContext, FittedQuantizer, Quantizer
from attar.retrieval.quantizers.faiss_index import random_rotation
from attar.retrieval.reducer import State
from attar.stores.layouts.rabitq import RaBitQCodes
from attar.stores.types import Codes, Float32, Query


def rabitq_index(center: Float32, bits: int) -> Any:
    """An empty faiss index about `center` float32 [e]; queries are not quantised."""
    import faiss

    index = faiss.IndexRaBitQ(len(center), faiss.METRIC_INNER_PRODUCT, bits)
    index.qb = 0
    # The mean of one vector is that vector.
    index.train(center[None])
    return index


@dataclass(frozen=True)
class FittedRaBitQ(FittedQuantizer):
    """Rotated about the centroid; scores are faiss' own estimates.

    The score has a term of the document (see the layout) that no decoded vector reproduces, so
    that it estimates <q, x> a little better than <q, decode(encode(x))> does.
    rotation: float32 [e e]; center: float32 [e], in rotated coordinates.
    """

    layout: RaBitQCodes
    rotation: Float32
    center: Float32

    def encode(self, z: Float32) -> Codes:
        """The index' `sa_encode`."""
        size = self.layout.fields[0].width
        if len(z) == 0:
            return Codes({"code": np.zeros((0, size), np.uint8)})
        index = rabitq_index(self.center, self.layout.bits)
        return Codes({"code": index.sa_encode(np.ascontiguousarray(z @ self.rotation))})

    def decode(self, codes: Codes) -> Float32:
        """Centroid plus scaled levels, rotated back."""
        levels = self.layout.unpack(codes)
        z: Float32 = levels.y[:, :-1] * levels.factor[:, None] + self.center
        back: Float32 = np.matmul(z, self.rotation.T)
        return back

    def prepare(self, q: Float32) -> Query:
        """Rotate about the centroid; the last coordinate is one."""
        rotated: Float32 = np.matmul(q, self.rotation)
        coords = np.ones((len(q), self.layout.dim), np.float32)
        coords[:, :-1] = rotated - self.center
        return Query(coords, rotated @ self.center)

    def state(self) -> State:
        """Rotation and centroid."""
        return {"rotation": self.rotation, "center": self.center}


@dataclass(frozen=True)
class RaBitQ(Quantizer):
    """`rabitq<bits>`: random rotation and codes of 1 to 9 bits about the centroid.

    arXiv 2405.12497 and 2409.09913, faiss' IndexRaBitQ with the rotation that it leaves to its
    users. Bytes per vector: ceil(e / 8) + 8 for one bit, else ceil(e / 8) + ceil(e (bits-1) / 8)
    + 20.
    """

    bits: int

    form: ClassVar[str] = "rabitq<bits>"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 9:
            raise ValueError(f"RaBitQ has 1 to 9 bits, got {self.bits}.")

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `rabitq4`."""
        match = re.fullmatch(r"rabitq(\d+)", part)
        return cls(int(match[1])) if match else None

    def __str__(self) -> str:
        return f"rabitq{self.bits}"

    def min_rows(self, width: int) -> int:
        """One, for the centroid."""
        return 1

    @property
    def learns(self) -> bool:
        """The centroid."""
        return True

    def fit(self, z: Float32, context: FitContext) -> FittedRaBitQ:
        """Draw the rotation, take the mean."""
        rotation = random_rotation(z.shape[1], context.seed)
        center = (z.mean(axis=0, dtype=np.float64) @ rotation).astype(np.float32)
        return self._fitted(rotation, center)

    def restore(self, width: int, state: State) -> FittedRaBitQ:
        """The same again."""
        rotation, center = (
            state[name].astype(np.float32, copy=False) for name in ("rotation", "center")
        )
        return self._fitted(rotation, center)

    def _fitted(self, rotation: Float32, center: Float32) -> FittedRaBitQ:
        square = float(np.dot(center, center))
        return FittedRaBitQ(RaBitQCodes(len(center), self.bits, square), rotation, center)
