"""Codecs by name: the front door to `attar.retrieval.codec`."""

from os import PathLike
from pathlib import Path

from attar.retrieval.codec import Codec, FittedCodec


def codec(spec: str) -> Codec:
    """Return the unfitted codec that a spec string spells, e.g. `pca50%+float8_e4m3`.

    `codec(spec).fit(x)` gives a frozen fitted codec with `encode`, `decode`, `prepare`,
    `bytes_per_vector`, `side_bytes` and `dump`. Raises ValueError for an unknown part and lists the
    known ones.
    """
    return Codec.parse(spec)


def load_codec(source: bytes | str | PathLike[str]) -> FittedCodec:
    """Return the fitted codec of a codec file, or of its bytes."""
    return FittedCodec.load(source if isinstance(source, bytes) else Path(source).read_bytes())
