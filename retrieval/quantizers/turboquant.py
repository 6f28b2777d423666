"""TurboQuant, by faiss."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from attar.retrieval.quantizer import FitContext, Quantizer
from attar.retrieval.quantizers.faiss_index import (
    FittedFaiss,
    layout_of,
    norm_unit,
    random_rotation,
    restore_faiss,
)
from attar.retrieval.reducer import State
from attar.stores.types import Float32

BITS = (1, 2, 3, 4, 8)


@dataclass(frozen=True)
class TurboQuant(Quantizer):
    """`turboquant<bits>`: random rotation, then Lloyd-Max levels of a sphere's coordinate.

    The MSE variant of arXiv 2504.19874 (faiss' QT_<bits>bit_tqmse), which keeps more in inner-
    product search than its unbiased variant at equal bits (measured on SciFact: .83 against .72 at
    2 bits). faiss assumes unit vectors; the norm is stored here, float16, as in the paper. Bytes
    per vector: ceil(e bits / 8) + 2.
    """

    bits: int

    form: ClassVar[str] = "turboquant<bits>"

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ValueError(f"TurboQuant has 1, 2, 3, 4 or 8 bits, got {self.bits}.")

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `turboquant4`."""
        match = re.fullmatch(r"turboquant(\d+)", part)
        return cls(int(match[1])) if match else None

    def __str__(self) -> str:
        return f"turboquant{self.bits}"

    def min_rows(self, width: int) -> int:
        """One: nothing is learned."""
        return 1

    @property
    def learns(self) -> bool:
        """Never."""
        return False

    def fit(self, z: Float32, context: FitContext) -> FittedFaiss:
        """Draw the rotation."""
        import faiss

        kind = getattr(faiss.ScalarQuantizer, f"QT_{self.bits}bit_tqmse")
        index = faiss.IndexScalarQuantizer(z.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(z)
        rotation = random_rotation(z.shape[1], context.seed)
        return FittedFaiss(layout_of(index, scaled=True), rotation, norm_unit(z))

    def restore(self, width: int, state: State) -> FittedFaiss:
        """The same again."""
        return restore_faiss(state, scaled=True)
