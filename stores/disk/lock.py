"""One writer at a time: an flock on `writer.lock`, released by the kernel when a process dies."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from attar.stores.disk.forking import forgotten_in_children
from attar.stores.errors import StoreLockedError

NAME = "writer.lock"
PAUSE_SECONDS = 0.02


class WriterLock:
    """The right to change one store; it conflicts with every other holder, also in this process.

    A forked child would keep the parent's lock alive, so children close their copy at birth.
    """

    def __init__(self, folder: Path, timeout: float = 0.0) -> None:
        self._fd: int | None = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(self._fd, folder, timeout)
        except BaseException:
            self._close()
            raise
        forgotten_in_children(self)

    def _take(self, fd: int, folder: Path, timeout: float) -> None:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise StoreLockedError(
                        f"A store has one writer; {folder} is held by {self._holder(fd)} "
                        f"(waited {timeout:g} s). Close that one, wait with timeout=SECONDS, or "
                        "open with mode='r'."
                    ) from None
                time.sleep(PAUSE_SECONDS)
            else:
                break
        # Only for the message of the next one who tries; a full disk must not keep a writer out.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    @staticmethod
    def _holder(fd: int) -> str:
        pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
        return f"process {pid}" if pid.isdigit() else "another process"

    def release(self) -> None:
        """Let the next writer in, also while a forked child has not closed its copy yet."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._close()

    def forget(self) -> None:
        """Close a child's copy; unlocking it would unlock the parent."""
        self._close()

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):
                os.close(fd)
