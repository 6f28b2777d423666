"""What is read from another library: documents in a fixed order, with what they cost there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attar.stores.transfer.rows import Rows


@dataclass(frozen=True)
class Collection:
    """Documents with vectors, wherever they lie. Nothing in it is ever unpickled.

    kind: what holds it. name: which collection there. metric: cosine, ip or l2. dim, count: of the
    vectors. vector_bytes: of its vectors and index, all_bytes: of everything, both on disk, None
    where that cannot be known. read: batches from a row on, the same order every time.
    """

    kind: str
    name: str
    metric: str
    dim: int
    count: int
    vector_bytes: int | None
    all_bytes: int | None
    read: Callable[[int], Iterator[Rows]]


def from_row(batches: Iterator[Rows], start: int) -> Iterator[Rows]:
    """Batches without the first `start` rows."""
    for rows in batches:
        gone = min(start, len(rows.ids))
        start -= gone
        if gone < len(rows.ids):
            yield Rows(
                rows.ids[gone:], rows.vectors[gone:], rows.texts[gone:], rows.metadata[gone:]
            )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def the_one(kind: str, where: object, names: list[str], wanted: str | None) -> str:
    """The collection that is meant; ValueError lists what there is."""
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None or wanted not in names:
        got = "none was named" if wanted is None else f"got {wanted!r}"
        raise ValueError(
            f"{kind} at {where} has the collections {', '.join(sorted(names)) or 'none'}; {got}. "
            "Name one with collection=."
        )
    return wanted
