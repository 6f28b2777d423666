"""Documents that were encoded elsewhere: written as segments by many, registered by one commit.

A worker calls `prepare` for a block of documents; whoever holds the store calls `adopt` with the
rows of all blocks and the documents in the same order. Until then nobody knows of the files, and
afterwards the store has names of its own for them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attar.stores import inputs
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.change import Change
from attar.stores.disk.library import Library
from attar.stores.disk.pieces import Fresh, Target, write_pieces
from attar.stores.disk.segment import Segment
from attar.stores.errors import CorruptStoreError, StoreError
from attar.stores.exact import EXACT, ExactCodec
from attar.stores.inputs import Batch
from attar.stores.protocols import Codec
from attar.stores.types import Float32


@dataclass(frozen=True)
class Form:
    """What all segments of a store have in common."""

    codec: Codec
    codec_hash: str
    metric: str
    fingerprint: str
    originals: bool


def form_of(library: Library) -> Form:
    """The form of new documents; the codec must be fitted."""
    meta = library.meta
    if meta["codec"] is None:
        raise StoreError(
            f"Documents are encoded with the codec of {library.folder}, which is not fitted yet. "
            "Add documents first."
        )
    name = str(meta["codec"])
    return Form(
        library.codec_of(name),
        name,
        str(meta["metric"]),
        str(meta["fingerprint"]),
        bool(meta["keep_originals"]),
    )


def prepare(
    folder: Path, stem: str, form: Form, first_slot: int, ids: Sequence[str], vectors: Float32
) -> list[SegmentRow]:
    """Encode documents [n d] into new files `<stem>-codes.seg`, `<stem>-originals.seg`.

    The bytes are those that `Store.add` of the same documents writes. Files that an earlier call
    left are replaced.
    """
    x = inputs.as_vectors(vectors)
    norms = inputs.check_vectors(x, list(ids), form.codec.dim, form.metric == "cosine")
    pieces = [("codes", form.codec, form.codec_hash, form.metric)]
    if form.originals:
        pieces.append(("originals", ExactCodec(form.codec.dim), EXACT, ""))
    rows = []
    for kind, codec, name, metric in pieces:
        path = folder / f"{stem}-{kind}.seg"
        path.unlink(missing_ok=True)
        target = Target(kind, codec.layout.fields, name, form.fingerprint, metric == "l2")
        piece = Fresh(x, norms, first_slot, codec, metric)
        rows.append(write_pieces(path, target, [piece]))
    return rows


def adopt(
    library: Library,
    folder: Path,
    rows: Sequence[SegmentRow],
    documents: Iterable[Batch],
    progress: dict[str, object] | None,
) -> None:
    """Register prepared segments and their documents, in slot order, in one atomic commit.

    Every byte is compared with its checksum before. Raises ValueError when the segments are of
    another codec, or do not follow the store's documents without a gap, and CorruptStoreError for
    damaged files; the store is then as before.
    """
    ordered = sorted(rows, key=lambda row: (row.first_row, row.kind))
    first = _check(library, ordered)
    for row in ordered:
        problems = Segment(folder / row.file, row.nbytes, row.header_crc).verify()
        if problems:
            raise CorruptStoreError(f"{problems[0]} Remove {folder / row.file} and build again.")
    end = max(row.last_row for row in ordered) + 1
    with Change(library, "Adopting documents") as change:
        for row in ordered:
            change.take_segment(folder / row.file, row)
        change.stream(first, _counted(documents, end - first))
        change.set_meta(progress=progress)


def _check(library: Library, rows: Sequence[SegmentRow]) -> int:
    """The first slot of the rows, which continue the store and leave none out."""
    form, first = form_of(library), int(library.meta["next_row"])
    kinds = {"codes": form.codec_hash} | ({"originals": EXACT} if form.originals else {})
    for kind, codec in kinds.items():
        slot = first
        for row in (row for row in rows if row.kind == kind):
            if row.codec != codec or row.fingerprint != form.fingerprint:
                raise ValueError(
                    f"{row.file} holds {row.kind} of the codec {row.codec}, the store's is {codec}."
                    " Remove it and build again."
                )
            if row.first_row != slot or not row.dense:
                raise ValueError(f"{row.file} begins at row {row.first_row}, expected was {slot}.")
            slot = row.last_row + 1
    return first


def _counted(documents: Iterable[Batch], expected: int) -> Iterator[Batch]:
    count = 0
    for batch in documents:
        count += len(batch)
        yield batch
    if count != expected:
        raise ValueError(f"There are {expected:,} vectors and {count:,} documents; one has each.")
