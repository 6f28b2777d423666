"""Builds the link tree `build/dev/attar` that type checkers and editors follow.

An editable install maps `attar.retrieval` to `retrieval/` through an import hook, which no type
checker can see. The tree holds links to the rooms (folders, so that new files just appear) and to
the files of the front door; a .pth file puts it on the path of the running environment.
"""

import os
import shutil
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("retrieval", "stores", "vision", "context")


def link_rooms(root: Path = ROOT) -> Path:
    """Remake the link tree; return the folder that belongs on `sys.path`."""
    package = root / "build" / "dev" / "attar"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for entry in (root / "attar").iterdir():
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(os.path.relpath(entry, package))
    for room in ROOMS:
        (package / room).symlink_to(os.path.relpath(root / room, package))
    return package.parent


if __name__ == "__main__":
    site = Path(sysconfig.get_paths()["purelib"])
    (site / "attar-dev.pth").write_text(f"{link_rooms()}\n")
