"""What is derived from a store's codes, made while searches and changes go on."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


def made(work: Callable[[], int], background: bool) -> "Future[int]":
    """The future of `work`, which is done when this returns or in a thread of its own."""
    done: Future[int] = Future()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(work())
        except BaseException as error:  # the caller gets it from the future
            done.set_exception(error)

    if background:
        threading.Thread(target=run, name="attar-index", daemon=True).start()
    else:
        done.set_result(work())
    return done
