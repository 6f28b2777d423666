"""Encoders by name: the front door to `attar.retrieval.encoders`."""

from typing import Any

from attar.stores.protocols import Encoder


def encoder(name_or_object: Any) -> Encoder:
    """Return the encoder that a name spells, or the object itself when it already is one.

    Names: `all-MiniLM-L6-v2` (from the package of extra `text`, offline), a local folder,
    `sentence-transformers:NAME`, `openai:MODEL[@URL]`, `open-clip:ARCH/PRETRAINED`,
    `precomputed:FILE.npy`, `module.path:callable`. An unknown name is an error that lists them.
    """
    from attar.retrieval.encoders import make_encoder

    return make_encoder(name_or_object)
