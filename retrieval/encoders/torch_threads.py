"""CPU threads of torch for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from attar.retrieval.extras import require


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads inside, restore afterwards; None changes nothing."""
    if threads is None:
        yield
        return
    torch = require("torch", "text")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
