"""Which library a path belongs to."""

from pathlib import Path
from typing import Any

from attar.retrieval.interchange.arrays import open_export, open_npy, open_parquet
from attar.retrieval.interchange.chroma import CATALOG, open_chroma
from attar.retrieval.interchange.collection import Collection
from attar.retrieval.interchange.faiss_file import open_faiss
from attar.retrieval.interchange.lance import open_lance
from attar.retrieval.interchange.own import open_own
from attar.retrieval.interchange.pgvector import open_pgvector
from attar.retrieval.interchange.qdrant import open_qdrant, open_qdrant_snapshot
from attar.retrieval.interchange.tensors import open_tensors
from attar.stores.disk.catalog import NAME as OWN_CATALOG
from attar.stores.transfer.export import NPY, PARQUET, SAFETENSORS

KNOWN = (
    "a Chroma folder, a LanceDB folder or object-store URI, a faiss index file, a Parquet, .npy, "
    ".safetensors or .pt file of vectors, a Qdrant URL, folder or .snapshot, a postgresql:// URL, "
    "an export of a store, a store"
)


def open_collection(
    source: str | Path,
    collection: str | None = None,
    *,
    metric: str | None = None,
    ids: list[str] | None = None,
) -> Collection:
    """Open what lies at a path or URI; nothing there is changed.

    collection: which one, where there are several. metric: for sources that do not know theirs
    (cosine without it). ids: for rows of a faiss index or a .npy file.
    """
    options: dict[str, Any] = {"metric": metric or "cosine"}
    if str(source).startswith(("http://", "https://")):
        return open_qdrant(str(source), collection)
    if str(source).startswith(("postgresql://", "postgres://")):
        return open_pgvector(str(source), collection, **options)
    if "://" in str(source):
        return open_lance(str(source), collection, **options)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"There is nothing at {path}.")
    return _file(path, ids, options) if path.is_file() else _folder(path, collection, options)


def _file(path: Path, ids: list[str] | None, options: dict[str, Any]) -> Collection:
    if path.suffix == ".npy":
        return open_npy(path, ids, **options)
    if path.suffix == ".parquet":
        return open_parquet(path, **options)
    if path.suffix in (".faiss", ".index"):
        return open_faiss(path, ids)
    if path.suffix in (".safetensors", ".pt"):
        return open_tensors(path, ids, **options)
    if path.suffix == ".snapshot":
        return open_qdrant_snapshot(path, options["metric"])
    raise ValueError(f"{path} is none of: {KNOWN}.")


def _folder(path: Path, collection: str | None, options: dict[str, Any]) -> Collection:
    if (path / CATALOG).is_file():
        return open_chroma(path, collection)
    if (path / OWN_CATALOG).is_file():
        return open_own(path)
    if any((path / name).is_file() for name in (NPY, SAFETENSORS, PARQUET)):
        return open_export(path, **options)
    if (path / "meta.json").is_file() and (path / "collection").is_dir():
        return open_qdrant(str(path), collection)
    if any(path.glob("*.lance")):
        return open_lance(str(path), collection, **options)
    if (path / "index.faiss").is_file() and not (path / "ids.json").is_file():
        # LangChain keeps texts and ids of its faiss store in a pickle, which could run anything.
        raise ValueError(
            f"{path} keeps its documents in a pickle, which is never read. Give "
            f"{path / 'index.faiss'} for the vectors alone, or add the documents anew."
        )
    raise ValueError(f"{path} is none of: {KNOWN}.")
