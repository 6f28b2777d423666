"""A whole store as one archive file, and back, byte for byte.

Bytes: magic b"ATTARPAK", version u32, length J u32, JSON of J bytes (zstd), the entries one after
the other. An entry is a file of the store: zstd, or, for a segment, its packed arrays followed by
what lies around them (zstd). The JSON has path, size, SHA-256 and place of each.
"""

import hashlib
import json
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.archive.entries import Entry, read_entries
from attar.retrieval.archive.packed_codes import PackedCodes, compress, expand, pack_codes
from attar.retrieval.codec import FittedCodec
from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes

MAGIC = b"ATTARPAK"
VERSION = 1
SEGMENT = b"ATTARSEG"
SKIPPED = frozenset({"writer.lock", "catalog.sqlite-shm"})
_HEAD = struct.Struct("<8sII")
_SEGMENT_HEAD = struct.Struct("<8sIII")


@dataclass(frozen=True)
class PackReport:
    """Bytes of the store's files, and of the archive."""

    store_bytes: int
    archive_bytes: int


def pack(store: str | os.PathLike[str], archive: str | os.PathLike[str]) -> PackReport:
    """Pack the folder of a store, which nobody is writing to, into a new file.

    Codes are range-coded with the tables of their own columns, floats split into bytes, everything
    else goes through zstd. Raises FileExistsError, or ValueError when a writer has the store open.
    """
    folder, target = Path(store), Path(archive)
    if not (folder / "catalog.sqlite").is_file():
        raise ValueError(f"{folder} is not a store: it has no catalog.sqlite.")
    log = folder / "catalog.sqlite-wal"
    if log.exists() and log.stat().st_size:
        raise ValueError(f"{folder} is open for writing; close the writer, then pack.")
    if target.exists():
        raise FileExistsError(f"{target} exists; remove it or name another file.")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in SKIPPED)
    layouts = [_layout(path) for path in files if path.suffix == ".safetensors"]
    entries, blobs = [], []
    for path in files:
        content = path.read_bytes()
        entry, blob = _packed_file(content, [layout for layout in layouts if layout])
        entry["path"] = path.relative_to(folder).as_posix()
        entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        entries.append(entry)
        blobs.append(blob)
    text = compress(json.dumps({"files": entries}, sort_keys=True).encode())
    whole = b"".join([_HEAD.pack(MAGIC, VERSION, len(text)), text, *blobs])
    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as file:
        file.write(whole)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
    return PackReport(sum(entry["size"] for entry in entries), len(whole))


def unpack(archive: str | os.PathLike[str], store: str | os.PathLike[str]) -> None:
    """Write the store of an archive into a new folder; every file is compared with its hash.

    Raises FileExistsError, and ValueError for a damaged or foreign archive.
    """
    content, folder = Path(archive).read_bytes(), Path(store)
    entries, at = _read_head(content)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; remove it or name another folder.")
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True)
    try:
        for entry in entries:
            _write_file(partial, entry, content[at : at + entry.nbytes])
            at += entry.nbytes
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial)
        raise


def _write_file(folder: Path, entry: Entry, blob: bytes) -> None:
    try:
        restored = _unpacked_file(blob, entry)
    except Exception as error:
        raise ValueError(
            f"The archive is damaged: {entry.path} cannot be unpacked ({error!r:.120}); restore it "
            "from a backup."
        ) from error
    if hashlib.sha256(restored).hexdigest() != entry.sha256 or len(restored) != entry.size:
        raise ValueError(f"The archive is damaged: {entry.path} has another SHA-256 or size.")
    path = _inside(folder, entry.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(restored)
        file.flush()
        os.fsync(file.fileno())


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"The archive names a file outside of the store: {name!r}.")
    return path


def _read_head(content: bytes) -> tuple[list[Entry], int]:
    if len(content) < _HEAD.size:
        raise ValueError("An archive is at least 16 bytes long; the file was cut off.")
    magic, version, length = _HEAD.unpack_from(content)
    if magic != MAGIC or version != VERSION:
        raise ValueError(
            f"An archive has magic {MAGIC!r} and version {VERSION}, got {magic!r} and {version}; "
            "use the release that wrote it."
        )
    end = _HEAD.size + length
    return read_entries(content[_HEAD.size : end], len(content) - end), end


def _layout(path: Path) -> Layout | None:
    try:
        return FittedCodec.load(path.read_bytes()).layout
    except ValueError:
        return None


def _packed_file(content: bytes, layouts: list[Layout]) -> tuple[dict[str, Any], bytes]:
    if content[: len(SEGMENT)] != SEGMENT:
        blob = compress(content)
        return {"kind": "file", "nbytes": len(blob)}, blob
    arrays, around = _segment_arrays(content)
    names = {name: array.dtype.name for name, array in arrays.items()}
    fits = [
        layout for layout in layouts if all(names.get(f.name) == f.dtype for f in layout.fields)
    ]
    packed = pack_codes(Codes(arrays), fits[0] if fits else None)
    rest = compress(around)
    entry = {"kind": "segment", "codes": len(packed), "nbytes": len(packed) + len(rest)}
    return entry, packed + rest


def _segment_arrays(content: bytes) -> tuple[dict[str, NDArray[Any]], bytes]:
    """The arrays of a segment (see `attar.stores.disk.segment`), and its other bytes."""
    arrays, around = {}, bytearray(content)
    for field in _segment_fields(content):
        start, nbytes = field["offset"], field["nbytes"]
        raw = np.frombuffer(content, field["dtype"], nbytes // _item(field), start)
        arrays[field["name"]] = raw.reshape(-1, field["width"])
        around[start : start + nbytes] = bytes(nbytes)
    return arrays, bytes(around)


def _segment_fields(content: bytes) -> list[dict[str, Any]]:
    _, version, length, _ = _SEGMENT_HEAD.unpack_from(content)
    if version != 1:
        raise ValueError(f"This release packs segments of version 1, got {version}.")
    head = json.loads(content[_SEGMENT_HEAD.size : _SEGMENT_HEAD.size + length])
    return [field for field in head["fields"] if field["nbytes"]]


def _item(field: dict[str, Any]) -> int:
    return int(np.dtype(field["dtype"]).itemsize)


def _unpacked_file(blob: bytes, entry: Entry) -> bytes:
    if entry.codes is None:
        return expand(blob, entry.size)
    arrays = PackedCodes(blob[: entry.codes]).read().fields
    content = bytearray(expand(blob[entry.codes :], entry.size))
    for field in _segment_fields(bytes(content)):
        raw = np.ascontiguousarray(arrays[field["name"]]).tobytes()
        content[field["offset"] : field["offset"] + field["nbytes"]] = raw
    return bytes(content)
