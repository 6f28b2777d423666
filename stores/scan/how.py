"""How a search goes about it; none of this changes what an exact search returns."""

from dataclasses import dataclass

from attar.stores.kernels.library import IMPLS

RECALL = 0.99


@dataclass(frozen=True)
class How:
    """threads: over blocks of rows, None takes the CPUs. impl: auto, numpy, or a native level.

    exact=False accepts near misses: about `recall` of the exact top-k (None: .99), from widths that
    were calibrated on the codes.
    """

    threads: int | None = None
    exact: bool = True
    recall: float | None = None
    impl: str = "auto"

    def __post_init__(self) -> None:
        if self.threads is not None and (isinstance(self.threads, bool) or self.threads < 1):
            raise ValueError(f"threads is at least 1, or None, got {self.threads!r}.")
        if self.impl not in IMPLS:
            raise ValueError(f"impl is one of {', '.join(IMPLS)}, got {self.impl!r}.")
        if self.recall is None:
            return
        if self.exact:
            raise ValueError("An exact search has recall 1; leave out recall= or say exact=False.")
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall lies in (0, 1], got {self.recall!r}.")
