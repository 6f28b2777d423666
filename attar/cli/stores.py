"""Opening a store from the command line, with the encoder that its catalog names."""

from pathlib import Path

import attar
from attar.stores.store import Store

SAFE = ("sentence-transformers:", "open-clip:")
"""Encoders that a catalog's word is enough for: loading one runs no code and calls no address that
the store could choose."""


def open_with_encoder(folder: Path, encoder: str | None) -> Store:
    """Open for reading with an encoder: the named one, or the one that the store was built with.

    A store that names a Python callable or an HTTP endpoint needs the name typed again: whoever
    wrote the store must not decide what runs or is called here.
    """
    with attar.open(folder) as store:
        named = store.info()["encoder"]
    if encoder is None:
        if not named:
            raise ValueError(
                f"A text query needs an encoder, and {folder} was built from bare vectors; "
                "pass --encoder NAME."
            )
        if not named.startswith(SAFE):
            raise ValueError(
                f"The store names the encoder {named!r}, which runs code or calls an address; "
                f"if you trust it, type it yourself: --encoder {named!r}."
            )
        encoder = named
    return attar.open(folder, encoder=attar.encoder(encoder))
