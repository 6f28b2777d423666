"""Forks while other threads use stores.

SQLite has mutexes of its own, its allocator's among them. A child that is forked while another
thread is inside one waits for ever at its first use of SQLite, be it to open a store of its own or
because the garbage collector closes a connection that it inherited. Hence a fork waits until no
thread of this process is inside a store, and a child never closes what it inherited, but for its
copies of writers' locks, which would keep other writers out.
"""

import ctypes
import logging
import os
import sqlite3
import threading
import time
import weakref
from typing import Protocol, TypeVar

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a fork waits; a longer operation is then forked in the middle, as it always was."""
_STEP = 0.05

Lock = TypeVar("Lock", threading.Lock, threading.RLock)
"""What keeps threads apart inside SQLite."""


class Forgetful(Protocol):
    """What a child must let go of at once."""

    def forget(self) -> None:
        """Drop the child's copy, without a change for the parent."""


_ENTRY = threading.Lock()
_LOCKS: "weakref.WeakSet[threading.Lock | threading.RLock]" = weakref.WeakSet()
_CONNECTIONS: "weakref.WeakSet[sqlite3.Connection]" = weakref.WeakSet()
_FORGETFUL: "weakref.WeakSet[Forgetful]" = weakref.WeakSet()
_HELD: list["threading.Lock | threading.RLock"] = []


def held_over_forks(lock: Lock) -> Lock:
    """The lock, which a fork takes first: in the child it is free and what it guards is whole."""
    with _ENTRY:
        _LOCKS.add(lock)
    return lock


def never_closed_in_children(connection: sqlite3.Connection) -> None:
    """Keep a child's copy as it is until the child ends."""
    with _ENTRY:
        _CONNECTIONS.add(connection)


def forgotten_in_children(owner: Forgetful) -> None:
    """Call `forget` of a child's copy when the child begins."""
    with _ENTRY:
        _FORGETFUL.add(owner)


def _wait() -> None:
    _ENTRY.acquire()
    end = time.monotonic() + PATIENCE
    # All or none: a thread inside one store may be waiting for another.
    while not _take_all():
        if time.monotonic() >= end:
            logger.warning("A store was in use for %g s: the fork does not wait longer.", PATIENCE)
            return
        time.sleep(0)


def _take_all() -> bool:
    for lock in list(_LOCKS):
        if not lock.acquire(timeout=_STEP):
            _release()
            return False
        _HELD.append(lock)
    return True


def _release() -> None:
    while _HELD:
        _HELD.pop().release()


def _go_on() -> None:
    _release()
    _ENTRY.release()


def _begin() -> None:
    for connection in list(_CONNECTIONS):
        # One reference too many: no collector and no end of the interpreter closes it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    for owner in list(_FORGETFUL):
        owner.forget()
    _go_on()


os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_begin)
