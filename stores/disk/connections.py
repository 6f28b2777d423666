"""SQLite connections that no fork cuts in two: every use of SQLite in this library is one of them.

Each call into SQLite is inside `forking.no_fork`, also the closing of what was forgotten. Between
two calls nothing of SQLite is held, so a fork waits for one statement, not for a transaction.
"""

import contextlib
import functools
import sqlite3
from collections.abc import Callable
from os import PathLike
from typing import Any, TypeVar

from attar.stores.disk.forking import never_closed_in_children, no_fork

Kind = TypeVar("Kind", bound=type)


def _whole(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def between_forks(*args: Any, **kwargs: Any) -> Any:
        with no_fork:
            return call(*args, **kwargs)

    return between_forks


def _between_forks(kind: Kind) -> Kind:
    """Have every call that a class inherits from SQLite's module happen between forks."""
    for name, call in vars(kind.__base__).items():
        called = not name.startswith("__") or name in ("__next__", "__exit__")
        if called and callable(call) and name not in vars(kind):
            setattr(kind, name, _whole(call))
    return kind


@_between_forks
class Cursor(sqlite3.Cursor):
    """A cursor whose every call into SQLite is whole in a forked child."""

    def __del__(self) -> None:
        # One per statement: `contextlib.suppress` takes as long as the rest.
        try:
            self.close()
        except sqlite3.ProgrammingError:
            # It never began, or its connection is closed.
            pass


@_between_forks
class Connection(sqlite3.Connection):
    """A connection whose every call into SQLite is whole in a forked child."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with no_fork:
            super().__init__(*args, **kwargs)
            never_closed_in_children(self)

    def cursor(self, factory: Any = Cursor) -> Any:
        """As SQLite's."""
        return super().cursor(factory)

    # The module's own would make its own cursors.
    def execute(self, *args: Any) -> Any:
        """As SQLite's."""
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        """As SQLite's."""
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        """As SQLite's."""
        return self.cursor().executescript(*args)

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):
            self.close()


def connect(database: str | PathLike[str], **options: Any) -> Connection:
    """Open a database, with the options of SQLite's own module."""
    return Connection(database, **options)
