"""A copy of a store at one commit, made while it is in use; readers and the writer go on."""

import secrets
import shutil
from pathlib import Path

from attar.stores.disk import catalog, connections
from attar.stores.disk.durable import explained, fsync_folder, write_file
from attar.stores.disk.handles import file_crc
from attar.stores.disk.library import CODECS, SEGMENTS, Library, codec_hash
from attar.stores.disk.seal import Seal, write_seal
from attar.stores.disk.segment import Segment
from attar.stores.disk.verify import verify
from attar.stores.errors import CorruptStoreError


def backup(library: Library, target: Path) -> int:
    """Copy the library's commit into the new folder `target`; returns its bytes.

    Every segment is compared with its checksums on the way, and the copy is verified before it
    gets its name, so a backup that exists is whole.
    """
    if target.exists():
        raise FileExistsError(f"A backup needs a path that does not exist; {target} does.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"A backup is made inside a folder; {target.parent} is none.")
    draft = target.with_name(f".{target.name}.new-{secrets.token_hex(4)}")
    try:
        with explained("A backup", target.parent):
            _copy(library, draft)
            report = verify(draft)
            if not report.whole:
                raise CorruptStoreError(
                    f"The backup of {library.folder} is not whole, so the store is not: "
                    f"{report.problems[0]}. Run Store.repair."
                )
            draft.rename(target)
            fsync_folder(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return sum(p.stat().st_size for p in target.rglob("*") if p.is_file())


def _copy(library: Library, draft: Path) -> None:
    for folder in (draft, draft / SEGMENTS, draft / CODECS):
        folder.mkdir()
    with library.guard:
        snapshot = library.snapshot
        with library.reading() as connection:
            copy = connections.connect(draft / catalog.NAME)
            try:
                connection.backup(copy)
                copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                names = [name for (name,) in copy.execute("SELECT hash FROM codecs")]
            finally:
                copy.close()
        for name in names:
            content = library.codec_path(name).read_bytes()
            if codec_hash(content) != name:
                raise CorruptStoreError(
                    f"{library.codec_path(name)} is not what was committed. Run Store.repair."
                )
            write_file(draft / CODECS / f"{name}.safetensors", content)
    # Maps stay readable when a commit replaces their files meanwhile.
    for part in snapshot.everything:
        _copy_segment(part.segment, draft / SEGMENTS / part.row.file)
    fsync_folder(draft / SEGMENTS)
    size, crc = file_crc(draft / catalog.NAME)
    write_seal(draft, Seal(snapshot.counter, True, size, crc), durable=True)


def _copy_segment(segment: Segment, path: Path) -> None:
    problems = segment.verify()
    if problems:
        raise CorruptStoreError(f"{problems[0]} Nothing was backed up.")
    write_file(path, segment.content)
