"""A folder of text, Markdown, HTML and PDF files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.content import content_hash
from attar.retrieval.sources.extract import READERS, text_of
from attar.retrieval.sources.fields import valid_id, valid_text
from attar.retrieval.sources.source import Document, Placed, Source, SourceError


@final
@dataclass(frozen=True)
class FolderSource(Source):
    """Every readable file below a folder is a document; its id is its path from there.

    Order: by path. Hidden files and folders, links to folders, and files of other kinds are left
    out; `notes` counts the last. Files are read one at a time.

    path: a folder, or one file.
    skip_unreadable: leave out files that cannot be read (broken or scanned PDF, text that is not
    UTF-8) and name them in `skipped`, instead of raising SourceError.
    """

    path: Path
    chunking: Chunking | None = None
    skip_unreadable: bool = False
    kind: str = "folder"

    @cached_property
    def hash(self) -> str:
        """Hash of the paths and bytes of all files that are read."""
        settings = (self.kind, str(self.skip_unreadable))
        return content_hash(settings, [(self._id(file), file) for file in self._files[0]])

    @property
    def notes(self) -> tuple[str, ...]:
        """How many files are of other kinds, when there are any."""
        others = self._files[1]
        known = " ".join(READERS)
        return (f"{others} files that are not {known} are left out.",) if others else ()

    @cached_property
    def skipped(self) -> dict[str, str]:
        """Path -> why, for files left out so far under `skip_unreadable`."""
        return {}

    def read(self, start: int = 0) -> Iterator[Placed]:
        """Documents from number `start` on; with `skip_unreadable` earlier files are read too."""
        files = self._files[0]
        if not self.skip_unreadable:
            files, start = files[start:], 0
        count = 0
        for file in files:
            try:
                text = valid_text(text_of(file), str(file))
            except SourceError as error:
                if not self.skip_unreadable:
                    raise
                self.skipped[self._id(file)] = str(error)
                continue
            count += 1
            if count > start:
                markdown = file.suffix.lower() == ".md"
                name = valid_id(self._id(file), str(file))
                yield Placed(str(file), Document(name, text), markdown)

    def _id(self, file: Path) -> str:
        return file.name if file == self.path else file.relative_to(self.path).as_posix()

    @cached_property
    def _files(self) -> tuple[list[Path], int]:
        """Files of known kinds in order; number of others."""
        if self.path.is_file():
            return [self.path], 0
        found: list[Path] = []
        others = 0
        for folder, folders, names in os.walk(self.path):
            folders[:] = [each for each in folders if not each.startswith(".")]
            for name in names:
                if name.startswith("."):
                    continue
                if Path(name).suffix.lower() in READERS:
                    found.append(Path(folder, name))
                else:
                    others += 1
        return sorted(found, key=lambda file: file.relative_to(self.path).as_posix()), others
