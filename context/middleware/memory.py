"""What was sent: states of conversations, remembered by a hash of their messages."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from attar.context.middleware.view import Message, Replacements


@dataclass(frozen=True)
class State:
    """What a conversation looks like after a request.

    replacements: the texts that differ from the original. entered: those of them that were
    shortened when they first appeared. compactions: how many there were. sent: messages in the
    request. broke: whether it changed what an earlier one had sent. unseen: whether the messages up
    to `sent` have not been looked at.
    """

    replacements: Replacements = field(default_factory=dict)
    entered: Replacements = field(default_factory=dict)
    compactions: int = 0
    sent: int = 0
    broke: bool = False
    unseen: bool = False


class Memory:
    """States by key, the `size` most recently used; for several threads. Lost with the process.

    ttl: seconds after its last use until a state is forgotten; None for never.
    """

    def __init__(
        self,
        size: int = 4096,
        ttl: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 1:
            raise ValueError(f"A memory holds at least one state, got size {size}.")
        if ttl is not None and ttl <= 0:
            raise ValueError(f"ttl is None or a number of seconds above 0, got {ttl}.")
        self._size, self.ttl, self._clock = size, ttl, clock
        # Least recently used first, so that what is too old is at the front, too.
        self._states: OrderedDict[bytes, tuple[State, str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def longest(self, keys: Sequence[bytes]) -> tuple[int, State]:
        """Return the last index > 0 with a known key, and its state; else 0 and a fresh one."""
        with self._lock:
            self._expire()
            for n in range(len(keys) - 1, 0, -1):
                found = self._states.get(keys[n])
                if found is not None:
                    self._use(keys[n], found[0], found[1])
                    return n, found[0]
        return 0, State()

    def put(self, key: bytes, state: State, scope: str = "") -> None:
        """Remember a state of a conversation of `scope`."""
        with self._lock:
            self._expire()
            self._use(key, state, scope)
            while len(self._states) > self._size:
                self._states.popitem(last=False)

    def forget(self, scope: str | None = None) -> int:
        """Forget the states of a scope, or everything; return how many."""
        with self._lock:
            gone = [k for k, (_, of, _) in self._states.items() if scope in (None, of)]
            for key in gone:
                del self._states[key]
        return len(gone)

    def _use(self, key: bytes, state: State, scope: str) -> None:
        self._states[key] = state, scope, self._clock()
        self._states.move_to_end(key)

    def _expire(self) -> None:
        oldest = float("-inf") if self.ttl is None else self._clock() - self.ttl
        while self._states and next(iter(self._states.values()))[2] <= oldest:
            self._states.popitem(last=False)

    def __len__(self) -> int:
        return len(self._states)


def prefix_keys(messages: Sequence[Message], rules: bytes, scope: str) -> list[bytes]:
    """Return a key for each prefix of 0, 1, … messages, under these rules and this scope."""
    digest = blake2b(rules + b"\0" + scope.encode("utf-8", "surrogatepass"), digest_size=16)
    keys = [digest.digest()]
    for message in messages:
        digest.update(f"{message.role}\n".encode())
        for p in message.pieces:
            head = f"{p.kind.value} {p.path} {len(p.text)} "
            digest.update((head + p.text).encode("utf-8", "surrogatepass"))
        keys.append(digest.copy().digest())
    return keys
