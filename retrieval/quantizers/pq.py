"""Product quantization, by faiss."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from attar.retrieval.quantizer import FitContext, Quantizer
from attar.retrieval.quantizers.faiss_index import (
    FittedFaiss,
    layout_of,
    restore_faiss,
    transform_matrix,
)
from attar.retrieval.reducer import State
from attar.stores.types import Float32

BITS = range(1, 13)


@dataclass(frozen=True)
class PQ(Quantizer):
    """`pq<M>x<bits>`: M sub-vectors, a codebook of 2^bits centroids each (Jegou et al., 2011).

    `opq<M>x<bits>` learns a rotation in front of it (Optimized PQ, Ge et al., 2013; faiss'
    OPQMatrix). The width must be a multiple of M. Bytes per vector: ceil(M bits / 8).
    """

    parts: int
    bits: int
    rotated: bool = False

    form: ClassVar[str] = "pq<M>x<bits>, opq<M>x<bits>"

    def __post_init__(self) -> None:
        if self.bits not in BITS or self.parts < 1:
            raise ValueError(
                f"A product quantizer has at least one part of 1 to 12 bits, got {self}; "
                "write pq48x8."
            )

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `pq48x8` or `opq48x8`."""
        match = re.fullmatch(r"(o?)pq(\d+)x(\d+)", part)
        return cls(int(match[2]), int(match[3]), bool(match[1])) if match else None

    def __str__(self) -> str:
        return f"{'o' if self.rotated else ''}pq{self.parts}x{self.bits}"

    def min_rows(self, width: int) -> int:
        """One vector per centroid; for OPQ also one per dimension, or the rotation is arbitrary."""
        return max(1 << self.bits, width if self.rotated else 1)

    @property
    def learns(self) -> bool:
        """The codebooks."""
        return True

    def fit(self, z: Float32, context: FitContext) -> FittedFaiss:
        """k-means per part; for OPQ alternately with the rotation, 50 times as faiss does."""
        import faiss

        width = z.shape[1]
        if width % self.parts:
            fitting = [m for m in range(1, width + 1) if width % m == 0]
            nearest = min(fitting, key=lambda m: abs(m - self.parts))
            raise ValueError(
                f"{self} needs a width that is a multiple of {self.parts}, got {width}; "
                f"write pq{nearest}x{self.bits}, or reduce first (pca{self.parts}+{self})."
            )
        index = self._index(width, context.seed)
        if not self.rotated:
            index.train(z)
            return FittedFaiss(layout_of(index))
        matrix = faiss.OPQMatrix(width, self.parts)
        # faiss keeps a bare pointer, so the guide must outlive the training.
        guide = self._index(width, context.seed)
        matrix.pq = guide.pq
        matrix.train(z)
        rotation = transform_matrix(matrix)
        index.train(z @ rotation)
        return FittedFaiss(layout_of(index), rotation)

    def _index(self, width: int, seed: int) -> Any:
        import faiss

        index = faiss.IndexPQ(width, self.parts, self.bits, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.seed = seed
        # faiss prints a warning below 39 vectors a centroid; `min_rows` is the limit here.
        index.pq.cp.min_points_per_centroid = 1
        return index

    def restore(self, width: int, state: State) -> FittedFaiss:
        """The same again."""
        return restore_faiss(state)
