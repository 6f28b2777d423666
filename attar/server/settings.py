"""What a server allows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits and keys; every one is checked where it is used.

    api_keys: any of them opens everything but `/health`; none at all means no keys are asked for.
    requests_per_second and burst: a bucket per key, or per address without keys; 0 is no limit.
    hosts: names that the Host header may carry, any when empty (against DNS rebinding).
    timeout: seconds for one request. refresh_seconds: how often a reader looks for new commits.
    """

    api_keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    body_bytes: int = 32 << 20
    requests_per_second: float = 0.0
    burst: int = 50
    timeout: float = 30.0
    largest_k: int = 10_000
    largest_batch: int = 4096
    refresh_seconds: float = 1.0

    def __post_init__(self) -> None:
        if any(not key for key in self.api_keys):
            raise ValueError("API keys are not empty; got an empty one. Leave the list empty.")
        for name in ("body_bytes", "burst", "timeout", "largest_k", "largest_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is above 0, got {getattr(self, name)!r}.")
        if self.requests_per_second < 0 or self.refresh_seconds <= 0:
            raise ValueError("Rates are not negative, and a reader refreshes after some time.")
