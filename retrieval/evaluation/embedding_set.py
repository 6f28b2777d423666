"""What codecs are compared on: documents, queries, judgements, and slices of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from attar.retrieval.inputs import as_vectors
from attar.stores.types import Float32


@dataclass(frozen=True)
class Slice:
    """Other conditions for the same documents.

    rows: which queries of the set, by position. queries: their vectors [len(rows) d] when they were
    changed (a typo), None for those of the set. fit: documents [f d] that the codec is fitted on
    instead (another domain), None for those of the comparison.
    """

    rows: tuple[int, ...]
    queries: Float32 | None = None
    fit: Float32 | None = None


@dataclass(frozen=True)
class EmbeddingSet:
    """One collection as vectors.

    documents float32 [n d] with n unique ids; queries float32 [m d] with m unique ids; qrels: query
    id -> document id -> grade, or None; slices: name -> Slice. Raises ValueError for sizes that do
    not belong together.
    """

    name: str
    documents: Float32
    queries: Float32
    document_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]] | None = None
    slices: Mapping[str, Slice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        x = as_vectors(self.documents, "documents")
        as_vectors(self.queries, "queries", x.shape[1])
        for what, ids, rows in (
            ("document", self.document_ids, self.documents),
            ("query", self.query_ids, self.queries),
        ):
            if not len(rows) or len(ids) != len(rows) or len(set(ids)) != len(ids):
                raise ValueError(
                    f"Every {what} has one id of its own and there is at least one, got "
                    f"{len(set(ids))} different ids for {len(rows)} vectors; give the ids that "
                    "belong to the vectors."
                )
        if self.qrels is not None and not set(self.qrels) & set(self.query_ids):
            raise ValueError(
                "Judgements and queries have no query in common; give both of one collection."
            )
        for name, part in self.slices.items():
            if not part.rows or not 0 <= min(part.rows) <= max(part.rows) < len(self.queries):
                raise ValueError(
                    f"The slice {name!r} names positions from 0 to {len(self.queries) - 1}, at "
                    f"least one, got {part.rows[:5]}; leave an empty slice out."
                )
            if part.queries is not None and len(part.queries) != len(part.rows):
                raise ValueError(
                    f"The slice {name!r} has one vector for each of its {len(part.rows)} queries, "
                    f"got {len(part.queries)}."
                )

    @property
    def dim(self) -> int:
        """Dimensions d."""
        return int(self.documents.shape[1])
