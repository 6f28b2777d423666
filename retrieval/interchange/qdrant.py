"""Qdrant's collections: by scroll through the client, or from a snapshot of a collection."""

import tarfile
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.interchange.arrays import TEXT_NAMES
from attar.retrieval.interchange.collection import Collection, from_row, size_of, the_one
from attar.stores.transfer.rows import BATCH, Rows

METRICS = {"cosine": "cosine", "dot": "ip", "euclid": "l2"}
OWN_ID = "id"


def open_qdrant(place: str, collection: str | None = None, vector: str = "") -> Collection:
    """A collection of a server (`http://host:6333`) or of a local folder of the client, by scroll.

    vector: name of the vector where a collection has several. Texts are looked for in the payload
    as `text`, `document`, `content` or `page_content`; the rest of the payload is metadata. The id
    is the point's, or the payload's string `id` where that is there (points of LangChain, of attar
    and others are UUIDs made from such an id).
    """
    library = require("qdrant_client", "qdrant")
    remote = "://" in place
    client = library.QdrantClient(url=place) if remote else library.QdrantClient(path=place)
    try:
        names = [one.name for one in client.get_collections().collections]
    except Exception as error:
        raise ConnectionError(
            f"Qdrant does not answer at {place}: {str(error)[:200]}. Check that the server runs."
        ) from error
    name = the_one("Qdrant", place, names, collection)
    params = client.get_collection(name).config.params.vectors
    if isinstance(params, dict):
        chosen = the_one("The Qdrant collection", name, list(params), vector or None)
        params = params[chosen]
    else:
        chosen = ""
    if params.multivector_config is not None:
        raise ValueError(f"The vectors {chosen!r} of {name} are several a point; one is read.")
    metric = METRICS.get(str(params.distance.value).lower())
    if metric is None:
        raise ValueError(f"{name} is scored by {params.distance.value}; a store by cosine, ip, l2.")

    def scroll() -> Iterator[Rows]:
        offset: Any = None
        while True:
            points, offset = client.scroll(
                name,
                limit=BATCH,
                offset=offset,
                with_payload=True,
                with_vectors=[chosen] if chosen else True,
            )
            if points:
                yield _rows([(p.id, p.payload, p.vector) for p in points], chosen)
            if offset is None:
                return

    size = None if remote else size_of(Path(place))
    count = client.count(name, exact=True).count
    if not count:
        raise ValueError(f"The collection {name!r} of {place} is empty; there is nothing to read.")
    return Collection(
        "qdrant", name, metric, int(params.size), count, None, size,
        lambda start: from_row(scroll(), start),
    )  # fmt: skip


def open_qdrant_snapshot(path: Path, metric: str | None = None) -> Collection:
    """A snapshot of one collection or shard, read by Qdrant's own engine in this process.

    It is unpacked into a temporary folder, which goes with the collection.
    """
    edge = require("qdrant_edge", "qdrant")
    folder = Path(tempfile.mkdtemp(prefix="attar-qdrant-"))
    shard_tar = _shard_of(path, folder)
    try:
        edge.EdgeShard.unpack_snapshot(str(shard_tar), str(folder / "shard"))
        shard = edge.EdgeShard.load(str(folder / "shard"))
    except Exception as error:
        raise ValueError(
            f"{path} is no snapshot that qdrant-edge reads: {str(error)[:200]}"
        ) from error

    def scroll() -> Iterator[Rows]:
        offset = None
        while True:
            records, offset = shard.scroll(
                edge.ScrollRequest(offset=offset, limit=BATCH, with_payload=True, with_vector=True)
            )
            if records:
                yield _rows([(r.id, r.payload, r.vector) for r in records], "")
            if offset is None:
                return

    first = next(scroll(), None)
    if first is None:
        raise ValueError(f"{path} is empty; there is nothing to read.")
    count = int(shard.count(edge.CountRequest(exact=True)))
    size = size_of(path)
    held = Collection(
        "qdrant", path.name, metric or "cosine", first.vectors.shape[1], count, size, size,
        lambda start: from_row(scroll(), start),
    )  # fmt: skip
    weakref.finalize(held, _leave, shard, folder)
    return held


def _shard_of(path: Path, folder: Path) -> Path:
    """The snapshot of shard 0 inside a snapshot of a collection, or the path itself."""
    if not tarfile.is_tarfile(path):
        raise ValueError(f"{path} is no tar archive; a snapshot of Qdrant is one.")
    with tarfile.open(path) as archive:
        inner = [one for one in archive.getnames() if one.endswith("/0.tar") or one == "0.tar"]
        shards = [one for one in archive.getnames() if one.endswith(".tar")]
        if len(shards) > 1:
            raise ValueError(f"{path} holds {len(shards)} shards; give the snapshot of each.")
        if not inner:
            return path
        archive.extract(inner[0], folder, filter="data")
        return folder / inner[0]


def _rows(points: list[tuple[Any, Any, Any]], chosen: str) -> Rows:
    ids, vectors, texts, notes = [], [], [], []
    for point, payload, vector in points:
        note = dict(payload or {})
        own = note.pop(OWN_ID) if isinstance(note.get(OWN_ID), str) else str(point)
        key = next((name for name in TEXT_NAMES if isinstance(note.get(name), str)), None)
        ids.append(own)
        texts.append(None if key is None else note.pop(key))
        notes.append(note or None)
        vectors.append(vector[chosen] if chosen else vector)
    return Rows(ids, np.asarray(vectors, np.float32), texts, notes)


def _leave(shard: Any, folder: Path) -> None:
    import shutil

    shard.close()
    shutil.rmtree(folder, ignore_errors=True)
