"""The scalar quantizers of faiss."""

from dataclasses import dataclass
from typing import ClassVar, Self

from attar.retrieval.quantizer import FitContext, Quantizer
from attar.retrieval.quantizers.faiss_index import FittedFaiss, layout_of, restore_faiss
from attar.retrieval.reducer import State
from attar.stores.types import Float32


@dataclass(frozen=True)
class FaissScalar(Quantizer):
    """`sq8`, `sq6`, `sq4`: equidistant levels between the smallest and the largest value seen.

    One range per dimension (faiss' QT_8bit, QT_6bit, QT_4bit). Bytes per vector: ceil(e bits / 8).
    """

    bits: int

    form: ClassVar[str] = "sq8, sq6, sq4"

    @classmethod
    def from_spec(cls, part: str) -> Self | None:
        """Parse `sq8`, `sq6` or `sq4`."""
        return cls(int(part[2:])) if part in ("sq8", "sq6", "sq4") else None

    def __str__(self) -> str:
        return f"sq{self.bits}"

    def min_rows(self, width: int) -> int:
        """Two, for a range."""
        return 2

    @property
    def learns(self) -> bool:
        """Ranges."""
        return True

    def fit(self, z: Float32, context: FitContext) -> FittedFaiss:
        """Range per dimension."""
        import faiss

        kind = getattr(faiss.ScalarQuantizer, f"QT_{self.bits}bit")
        index = faiss.IndexScalarQuantizer(z.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(z)
        return FittedFaiss(layout_of(index))

    def restore(self, width: int, state: State) -> FittedFaiss:
        """The same again."""
        return restore_faiss(state)
