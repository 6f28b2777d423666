"""Opening a store from the command line, with the encoder that its catalog names."""

from pathlib import Path

import attar
from attar.stores.protocols import Encoder
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


def both_encoders(folder: Path, to: str | None, old: str | None) -> tuple[Encoder | None, Encoder]:
    """The old and the new encoder of an upgrade: as typed, or as the store names them.

    The old one is None where an adapter asks in its stead and nobody typed it.
    """
    with attar.open(folder) as store:
        facts = store.info()
    under_way = facts["upgrade"] or {}
    needed = old is not None or not under_way.get("adapter")
    named = {"--from": (facts["encoder"] if needed else None, old)}
    named["--to"] = (under_way.get("encoder"), to)
    for option, (stored, typed) in named.items():
        if typed is None and stored and not is_safe(stored):
            raise ValueError(
                f"The store names the encoder {stored!r}, which is code, an address or a folder; "
                f"if you trust it, type it yourself with {option}."
            )
    new_name = to or under_way.get("encoder")
    if not new_name:
        raise ValueError("Name the new encoder: attar upgrade DIR --to NAME.")
    if not needed:
        return None, attar.encoder(new_name)
    old_name = old or facts["encoder"]
    if not old_name:
        raise ValueError(f"{folder} was built from bare vectors; name their encoder: --from NAME.")
    return attar.encoder(old_name), attar.encoder(new_name)


def is_safe(name: str) -> bool:
    """Whether loading it runs no code, calls no address, reads no folder of a store's choice."""
    form, colon, model = name.rpartition(":")
    return (not colon or form in SAFE) and not Path(model).exists()
