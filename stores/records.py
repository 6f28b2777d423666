"""Documents as a store gives them back."""

from dataclasses import dataclass
from typing import Any

from attar.stores.types import Float32


@dataclass(frozen=True)
class Record:
    """One document. `vector` is the decoded one, float32 [d], when it was asked for."""

    id: str
    text: str | None
    metadata: dict[str, Any] | None
    vector: Float32 | None = None
