"""Making the folder of a new store: whole, or not at all."""

import base64
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from attar.stores.disk import catalog
from attar.stores.disk.durable import explained, fsync_folder, write_file
from attar.stores.disk.library import CODECS, SEGMENTS, codec_hash
from attar.stores.disk.lock import WriterLock
from attar.stores.disk.seal import Seal, write_seal
from attar.stores.errors import NotAStoreError
from attar.stores.probes import probe_vectors
from attar.stores.protocols import Codec, Encoder, Recipe
from attar.stores.types import Float32


def initial_meta(
    codec: Codec | Recipe, encoder: Encoder | None, fingerprint: str | None, **settings: Any
) -> dict[str, Any]:
    """Meta entries of an empty store; refuses a codec, an encoder and a name that disagree."""
    fitted = isinstance(codec, Codec)
    if not fitted and not isinstance(codec, Recipe):
        raise TypeError(
            f"codec is a fitted codec or a recipe, got {type(codec).__name__}. Make one with "
            "attar.codec('pca50%+float8_e4m3')."
        )
    dim = codec.dim if isinstance(codec, Codec) else None
    if encoder is not None:
        if dim is not None and dim != encoder.dim:
            raise ValueError(
                f"Codec and encoder have one dimension; the codec was fitted for {dim}, "
                f"{encoder.name} gives {encoder.dim}. Fit the codec on this encoder's vectors."
            )
        if fingerprint is not None and fingerprint != encoder.fingerprint:
            raise ValueError(
                f"fingerprint= names the encoder; got {fingerprint!r}, {encoder.name} has "
                f"{encoder.fingerprint!r}. Leave it out when an encoder is given."
            )
        dim, fingerprint = encoder.dim, encoder.fingerprint
    return {
        "counter": 1,
        "next_row": 0,
        "dim": dim,
        "spec": codec.spec,
        "codec": None,
        "encoder": "" if encoder is None else encoder.name,
        "fingerprint": fingerprint or "",
        "probes": None if encoder is None else pack_probes(probe_vectors(encoder)),
        "progress": None,
        "characters": 0,
        "trained_at": 0,
        **settings,
    }


def pack_probes(probes: Float32) -> dict[str, Any]:
    """Probe vectors as JSON: base64 of little-endian float32, and the shape."""
    content = base64.b64encode(probes.astype("<f4").tobytes()).decode()
    return {"shape": list(probes.shape), "float32": content}


def unpack_probes(entry: dict[str, Any] | None) -> Float32 | None:
    """The inverse of `pack_probes`."""
    if entry is None:
        return None
    raw = np.frombuffer(base64.b64decode(entry["float32"]), "<f4")
    return raw.reshape(entry["shape"]).astype(np.float32)


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse an output folder that exists, unless it is a store and may be replaced."""
    if not path.exists() and not path.is_symlink():
        if not path.parent.is_dir():
            raise FileNotFoundError(f"A store is made inside a folder; {path.parent} is none.")
        return
    if not overwrite:
        raise FileExistsError(
            f"A new store needs a path that does not exist; {path} does. Choose another, open it "
            "with attar.open(path, mode='w'), or pass overwrite=True to replace it."
        )
    if path.is_symlink() or not (path / catalog.NAME).is_file():
        raise NotAStoreError(
            f"overwrite=True replaces stores only; {path} is not one. Remove it yourself or choose "
            "another path."
        )


def make_folder(
    path: Path, meta: dict[str, Any], codec: Codec | None, overwrite: bool
) -> WriterLock:
    """Make an empty store beside `path`, then move it into place; returns its writer lock."""
    draft = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    with explained("Making a store", path.parent):
        try:
            lock = _fill(draft, meta, codec)
            try:
                _move(draft, path, overwrite)
            except BaseException:
                lock.release()
                raise
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return lock


def _fill(draft: Path, meta: dict[str, Any], codec: Codec | None) -> WriterLock:
    draft.mkdir()
    (draft / SEGMENTS).mkdir()
    (draft / CODECS).mkdir()
    row = None
    if codec is not None:
        content = codec.dump()
        name = codec_hash(content)
        write_file(draft / CODECS / f"{name}.safetensors", content)
        meta = meta | {"codec": name}
        row = (name, codec.spec, len(content), codec.side_bytes)
    catalog.create(draft, meta, row)
    write_seal(draft, Seal(int(meta["counter"])), durable=True)
    lock = WriterLock(draft)
    fsync_folder(draft)
    return lock


def _move(draft: Path, path: Path, overwrite: bool) -> None:
    """Rename into place. Replacing needs two renames: a crash between them leaves both folders."""
    if not overwrite or not path.exists():
        # rename would silently replace an empty folder that somebody made in the meantime.
        check_target(path, overwrite)
        draft.rename(path)
        fsync_folder(path.parent)
        return
    old = path.with_name(f".{path.name}.old-{secrets.token_hex(4)}")
    lock = WriterLock(path)
    try:
        path.rename(old)
        draft.rename(path)
        fsync_folder(path.parent)
    finally:
        lock.release()
    shutil.rmtree(old, ignore_errors=True)


def check_is_store(folder: Path) -> None:
    """Refuse a path that is no store before anything in it is touched."""
    if not (folder / catalog.NAME).is_file():
        raise catalog.not_a_store(folder)
