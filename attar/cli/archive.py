"""`attar pack DIR ARCHIVE` and `attar unpack ARCHIVE DIR`."""

from pathlib import Path
from typing import Annotated

import typer

from attar.cli.console import human_bytes, say

ArchivePath = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A file.")]
FolderPath = Annotated[Path, typer.Argument(metavar="DIR", help="A store.")]


def pack(folder: FolderPath, archive: ArchivePath) -> None:
    """Pack a store into one file, entropy-coded and bit-exact."""
    from attar.retrieval.archive import pack as run

    report = run(folder, archive)
    share = report.archive_bytes / report.store_bytes
    sizes = f"{human_bytes(report.archive_bytes)} for {human_bytes(report.store_bytes)}"
    say(f"{archive}: {sizes} ({share:.0%}).")


def unpack(archive: ArchivePath, folder: FolderPath) -> None:
    """Write the store of an archive into a new folder, every file compared with its hash."""
    from attar.retrieval.archive import unpack as run

    run(archive, folder)
    say(f"{folder}: every file as it was packed.")
