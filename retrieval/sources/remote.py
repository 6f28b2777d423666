"""Corpora at URIs, through fsspec: copied to this machine, then read as any other."""

import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from attar.retrieval.extras import require
from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.source import Placed, Source, SourceError

CACHE = Path.home() / ".cache" / "attar" / "sources"


@final
@dataclass(frozen=True)
class RemoteSource(Source):
    """What lies at a URI, a file or a folder; copied when it is first read.

    A copy of this source, in another process or on another machine, fetches for itself. open: makes
    the source of the copy's path. cache: folder of the copies, which may be removed at any time.
    """

    uri: str
    open: Callable[[Path], Source]
    cache: Path = CACHE

    @property
    def kind(self) -> str:
        """That of what was copied."""
        return self.local.kind

    @property
    def hash(self) -> str:
        """That of what was copied: of the bytes, wherever they lie."""
        return self.local.hash

    @property
    def chunking(self) -> Chunking | None:
        """That of what was copied."""
        return self.local.chunking

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of what was copied."""
        return self.local.notes

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents from number `start` on."""
        return self.local.read(start)

    @cached_property
    def local(self) -> Source:
        """The source of the copy."""
        return self.open(fetched(self.uri, self.cache))

    def __getstate__(self) -> dict[str, Any]:
        """Without the copy, which another machine does not see."""
        return {key: value for key, value in self.__dict__.items() if key != "local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def fetched(uri: str, cache: Path) -> Path:
    """The copy of a file or folder; the bytes of another version have another place."""
    fsspec = require("fsspec", "remote")
    try:
        system, root = fsspec.url_to_fs(uri)
        names = sorted(system.find(root)) if system.isdir(root) else [root]
        versions = [f"{name}:{system.ukey(name)}" for name in names]
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(
            f"{uri} cannot be read ({type(error).__name__}: {str(error)[:200]}); look at the URI, "
            "at the credentials, and at the package that fsspec names."
        ) from error
    if not names:
        raise SourceError(f"There is nothing at {uri}; look at the URI.")
    key = hashlib.blake2b("\n".join([uri, *versions]).encode(), digest_size=12).hexdigest()
    root = root.rstrip("/")
    place: Path = cache / key / root.rpartition("/")[2]
    if place.exists():
        return place
    draft = cache / f".{key}.new-{secrets.token_hex(4)}"
    try:
        for name in names:
            inside = name[len(root) + 1 :] if name != root else ""
            target = draft / place.name / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(name, str(target))
        place.parent.parent.mkdir(parents=True, exist_ok=True)
        if not place.parent.exists():
            draft.rename(place.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place
