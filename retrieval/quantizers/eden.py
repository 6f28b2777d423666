"""EDEN, by faiss."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from attar.retrieval.quantizer import FitContext, Quantizer
from attar.retrieval.quantizers.faiss_index import (
    FittedFaiss,
    layout_of,
    random_rotation,
    restore_faiss,
)
from attar.retrieval.reducer import State
from attar.stores.types import Float32


@dataclass(frozen=True)
class EDEN(Quantizer):
    """`eden<bits>`: random rotation, Lloyd-Max levels about the centroid, an unbiased scale.

    arXiv 2108.08842, faiss' IndexEDEN. Bytes per vector: ceil(e bits / 8) + 8.
    """

    bits: int

    form: ClassVar[str] = "eden<bits>"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"EDEN has 1 to 8 bits, got {self.bits}.")

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `eden4`."""
        match = re.fullmatch(r"eden(\d+)", part)
        return cls(int(match[1])) if match else None

    def __str__(self) -> str:
        return f"eden{self.bits}"

    def min_rows(self, width: int) -> int:
        """One, for the centroid."""
        return 1

    @property
    def learns(self) -> bool:
        """The centroid."""
        return True

    def fit(self, z: Float32, context: FitContext) -> FittedFaiss:
        """Draw the rotation, then take the mean."""
        import faiss

        rotation = random_rotation(z.shape[1], context.seed)
        index = faiss.IndexEDEN(z.shape[1], faiss.METRIC_INNER_PRODUCT, self.bits)
        index.train(z @ rotation)
        return FittedFaiss(layout_of(index), rotation)

    def restore(self, width: int, state: State) -> FittedFaiss:
        """The same again."""
        return restore_faiss(state)
