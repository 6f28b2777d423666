"""What a build was asked to do, so that the same command continues it and no other does."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Everything that decides the content of the built store."""

    source_kind: str
    source_hash: str
    chunk: str
    encoder: str
    fingerprint: str
    codec: str
    metric: str
    batch: int
    seed: int
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read what `to_json` wrote; keys that this version does not know are refused."""
        names = {field.name for field in fields(cls)}
        if set(content) != names:
            raise ValueError(
                f"A build manifest of format {FORMAT} has the keys {sorted(names)}, "
                f"got {sorted(content)}; continue the build with the version that began it."
            )
        return cls(**content)

    def differences(self, other: Self) -> list[str]:
        """Name what differs, one phrase an entry: `codec: 'int8' there, 'float32' asked`."""
        return [
            f"{name}: {here!r} there, {there!r} asked"
            for name, here, there in (
                (field.name, getattr(self, field.name), getattr(other, field.name))
                for field in fields(self)
            )
            if here != there
        ]
