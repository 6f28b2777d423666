"""A store on object storage, copied to this machine before it is opened.

Every commit gets a folder of its own, which never changes once it has its name. Segments and codecs
never change under their names either, so the copy of a later commit fetches only what is new.
"""

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from attar.stores.disk import catalog
from attar.stores.disk.seal import NAME as SEAL
from attar.stores.errors import NotAStoreError, StoreError

TRIES = 3


def local_copy(url: str, cache: Path) -> Path:
    """The folder below `cache` that holds the newest commit of the store at an fsspec URL.

    The store must be closed, or a backup. Credentials are those of the fsspec file system
    (environment, configuration files). Copies stay until somebody removes them.
    """
    try:
        import fsspec  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Stores on object storage need fsspec. Install it with: pip install 'attar[remote]'.",
            name=error.name,
        ) from error
    system, root = fsspec.url_to_fs(url)
    root = root.rstrip("/")
    copies = cache / hashlib.blake2b(url.encode(), digest_size=12).hexdigest()
    copies.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        names = _names(system, root, url)
        seal = system.cat_file(f"{root}/{SEAL}")
        target = copies / hashlib.blake2b(seal, digest_size=12).hexdigest()
        if target.is_dir():
            return target
        draft = copies / f".new-{secrets.token_hex(4)}"
        try:
            _fetch(system, root, draft, names)
            if (draft / SEAL).read_bytes() == seal == system.cat_file(f"{root}/{SEAL}"):
                draft.rename(target)
                return target
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    raise StoreError(f"{url} changes faster than it is copied. Copy it when it is closed.")


def _names(system: Any, root: str, url: str) -> dict[str, int]:
    """Files of the store by their path in it, with their sizes."""
    try:
        found = system.find(root, detail=True)
    except FileNotFoundError:
        found = {}
    names = {path[len(root) + 1 :]: int(entry["size"] or 0) for path, entry in found.items()}
    if catalog.NAME not in names or SEAL not in names:
        raise NotAStoreError(
            f"There is no store at {url}: {catalog.NAME} is missing. Look at the URL and at the "
            "credentials."
        )
    if names.get(f"{catalog.NAME}-wal"):
        raise StoreError(f"The store at {url} is open for writing. Close it, or copy a backup.")
    return {name: size for name, size in names.items() if not name.endswith(("-wal", "-shm"))}


def _fetch(system: Any, root: str, draft: Path, names: dict[str, int]) -> None:
    for name, size in names.items():
        place = draft / name
        place.parent.mkdir(parents=True, exist_ok=True)
        have = next(draft.parent.glob(f"*/{name}"), None) if "/" in name else None
        if have is not None and have.stat().st_size == size:
            os.link(have, place)
        else:
            system.get_file(f"{root}/{name}", str(place))
    for folder in ("segments", "codecs"):
        (draft / folder).mkdir(exist_ok=True)
