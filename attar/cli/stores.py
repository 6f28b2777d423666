"""Opening a store from the command line, with the encoder that its catalog names."""

from pathlib import Path

import attar
from attar.stores.store import Store

SAFE = ("sentence-transformers", "open-clip")
"""Forms of a name for which a catalog's word is enough: the libraries' own models, by name."""


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
        if not is_safe(named):
            raise ValueError(
                f"The store names the encoder {named!r}, which is code, an address or a folder; "
                f"if you trust it, type it yourself: --encoder {named!r}."
            )
        encoder = named
    return attar.open(folder, encoder=attar.encoder(encoder))


def is_safe(name: str) -> bool:
    """Whether loading it runs no code, calls no address, reads no folder of a store's choice."""
    form, colon, model = name.rpartition(":")
    return (not colon or form in SAFE) and not Path(model).exists()
