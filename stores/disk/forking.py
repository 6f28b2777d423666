"""Forks while other threads use stores.

A child has one thread, and whatever another thread of the parent was in the middle of stays so in
it for ever: SQLite's mutexes, its allocator's among them, which a child then waits for at its first
use of SQLite, or a table of ours between two steps. Hence one rule: what a child must find whole
happens inside `no_fork`. Connections of `disk.connections` are, whatever is called on them.

A child never closes connections that it inherited, but its copies of writers' locks, which would
keep other writers out.
"""

import ctypes
import logging
import os
import sqlite3
import threading
import weakref
from typing import Protocol

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a fork waits; a longer operation is then forked in the middle, as it always was."""


class Forgetful(Protocol):
    """What a child must let go of at once."""

    def forget(self) -> None:
        """Drop the child's copy, without a change for the parent."""


class NoFork:
    """`with no_fork:` runs between forks: they wait until no other thread is inside.

    Threads that are inside run side by side, and may enter again while a fork waits for them. Take
    other locks inside only: who is inside must never wait for a thread that waits to enter.
    """

    def __init__(self) -> None:
        self._inside: dict[int, int] = {}
        """How often each thread that is inside has entered; each changes its own entry only."""
        self._forking = False
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        me = threading.get_ident()
        depth = self._inside.get(me, 0)
        self._inside[me] = depth + 1
        # Only now: a fork that begins later sees this thread, of one that began it must know.
        if self._forking and not depth:
            self._stand_back(me)

    def _stand_back(self, me: int) -> None:
        del self._inside[me]
        with self._changed:
            self._changed.notify_all()
            while self._forking:
                self._changed.wait()
            self._inside[me] = 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        depth = self._inside[me] - 1
        if depth:
            self._inside[me] = depth
            return
        del self._inside[me]
        if self._forking:
            with self._changed:
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Be the only thread inside, and keep others out from now on."""
        me = threading.get_ident()
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._inside[me] = self._inside.get(me, 0) + 1
            self._forking = True
            alone = self._changed.wait_for(lambda: len(self._inside) == 1, PATIENCE)
        if not alone:
            logger.warning("A store was in use for %g s: the fork does not wait longer.", PATIENCE)

    def after_fork(self) -> None:
        """Let others in again."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()
        self.__exit__()

    def begin_child(self) -> None:
        """Only this thread is left, and maybe a lock that another one held."""
        me = threading.get_ident()
        self._inside = {me: self._inside[me]}
        self._changed = threading.Condition()
        self.after_fork()


no_fork = NoFork()
_CONNECTIONS: "weakref.WeakSet[sqlite3.Connection]" = weakref.WeakSet()
_FORGETFUL: "weakref.WeakSet[Forgetful]" = weakref.WeakSet()


def never_closed_in_children(connection: sqlite3.Connection) -> None:
    """Keep a child's copy as it is until the child ends."""
    with no_fork:
        _CONNECTIONS.add(connection)


def forgotten_in_children(owner: Forgetful) -> None:
    """Call `forget` of a child's copy when the child begins."""
    with no_fork:
        _FORGETFUL.add(owner)


def _begin_child() -> None:
    for connection in list(_CONNECTIONS):
        # One reference too many: no collector and no end of the interpreter closes it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    for owner in list(_FORGETFUL):
        owner.forget()
    no_fork.begin_child()


os.register_at_fork(
    before=no_fork.before_fork, after_in_parent=no_fork.after_fork, after_in_child=_begin_child
)
