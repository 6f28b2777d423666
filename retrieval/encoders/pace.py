"""When to ask a rate-limited service: steady starts, and how long to wait after a refusal."""

import email.utils
import random
import threading
import time


class Pace:
    """At most `per_minute` starts a minute, evenly spread, shared by all threads; None is no limit.

    `pause` moves everybody's next start back, after one thread was told to wait.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Block until this thread may start."""
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + self._gap
        time.sleep(max(0.0, start - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """No start within the next `seconds`."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def backoff(attempt: int, draw: random.Random, first: float = 0.5, longest: float = 60.0) -> float:
    """Seconds before try `attempt` + 1: uniform in [half, all] of first * 2^attempt, capped."""
    return float(min(longest, first * 2**attempt) * draw.uniform(0.5, 1.0))


def retry_after(header: str | None, longest: float = 600.0) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date), or None.

    Never more than `longest`: a service that asks for hours is treated as one that is down.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    if seconds != seconds:
        return None
    return min(max(0.0, seconds), longest)
