"""What `Store.info` says."""

from typing import Any

from attar.stores.cascade.saved import FOLDER, Shelf
from attar.stores.disk import catalog
from attar.stores.disk.library import CODECS, SEGMENTS, Library
from attar.stores.exact import EXACT
from attar.stores.graph.saved import linked_rows
from attar.stores.kernels.library import best_level


def describe(library: Library) -> dict[str, Any]:
    """Documents, codec, bytes per vector and on disk, encoder, format."""
    meta, snapshot = library.meta, library.snapshot
    sqnorm = 4 if meta["metric"] == "l2" else 0
    name = meta["codec"] or (snapshot.parts[0].row.codec if snapshot.parts else None)
    codec = None if name is None else library.codec_of(name)
    return {
        "n": snapshot.live,
        "deleted": sum(p.row.rows for p in snapshot.parts) - snapshot.live,
        "dim": meta["dim"],
        "metric": meta["metric"],
        "spec": meta["spec"],
        "serving": None if codec is None else codec.spec,
        "fitted": meta["codec"] is not None,
        "bytes_per_vector": None if codec is None else codec.bytes_per_vector + sqnorm,
        "side_bytes": None if codec is None else codec.side_bytes,
        "originals": bool(meta["keep_originals"]),
        "segments": len(snapshot.parts),
        "codecs": sorted({p.row.codec for p in snapshot.parts} - {EXACT}),
        "encoder": meta["encoder"],
        "fingerprint": meta["fingerprint"],
        "seed": meta["seed"],
        "train_at": meta["train_at"],
        "format": library.format,
        "upgrade": _upgrade(library),
        "kernels": best_level() or "numpy",
        "cells": _cells(library),
        "linked": sum(linked_rows(part) for part in snapshot.parts),
        "commit": snapshot.counter,
        "manifest": meta["manifest"],
        "progress": meta["progress"],
        "disk": _disk(library),
    }


_SIZES = {
    "texts": "SELECT sum(length(CAST(text AS BLOB))) FROM documents",
    "metadata": "SELECT sum(length(CAST(metadata AS BLOB))) FROM documents",
    "ids": "SELECT 2 * sum(length(CAST(id AS BLOB))) FROM documents",
    "filters": "SELECT sum(length(CAST(key || value AS BLOB))) FROM attributes",
}
_WORDS = (
    "SELECT (SELECT sum(length(block)) FROM words_data) + "
    "(SELECT sum(length(sz)) FROM words_docsize)"
)


def sizes(library: Library) -> dict[str, int]:
    """Bytes of what the catalog keeps (without the pages' own share), the full-text index apart."""
    asked = _SIZES | ({"full_text": _WORDS} if library.meta["text_index"] else {})
    with library.reading() as connection:
        return {
            what: int(connection.execute(sql).fetchone()[0] or 0) for what, sql in asked.items()
        }


def _cells(library: Library) -> int:
    """Cells of the present codec's vectors, 0 before `Store.cluster`."""
    names = {part.row.codec for part in library.snapshot.parts}
    shelf = Shelf(library.folder / FOLDER)
    return sum(shelf.cells(name) for name in names)


def _upgrade(library: Library) -> dict[str, Any] | None:
    """The model that an upgrade leads to, its bridge and how far it is; None without one."""
    entry = library.meta.get("upgrade")
    if not entry:
        return None
    done = sum(int(part.live.sum()) for part in library.snapshot.next)
    kept = {key: entry[key] for key in ("encoder", "fingerprint", "dim", "bridge", "adapter")}
    return kept | {"embedded": done, "of": library.snapshot.live}


def _disk(library: Library) -> dict[str, int]:
    """Bytes of the files by kind; the catalog counts with its log."""
    snapshot, folder = library.snapshot, library.folder
    logs = [p.stat().st_size for p in folder.glob(f"{catalog.NAME}*") if p.is_file()]
    codecs = [p.stat().st_size for p in (folder / CODECS).glob("*") if p.is_file()]
    return {
        "codes": sum(p.row.nbytes for p in snapshot.parts),
        "originals": sum(p.row.nbytes for p in snapshot.originals),
        "next": sum(p.row.nbytes for p in (*snapshot.next, *snapshot.next_originals)),
        "codecs": sum(codecs),
        "catalog": sum(logs),
        "index": sum(p.stat().st_size for p in (folder / FOLDER).glob("*") if p.is_file()),
        "segment_files": sum(1 for p in (folder / SEGMENTS).glob("*") if p.is_file()),
    }
