"""Stores with spec strings and encoder names: the front door to `attar.stores.store`."""

from typing import Any, Self

from attar.codecs import codec as parse_codec
from attar.codecs import load_codec
from attar.encoders import encoder as make_encoder
from attar.stores import store as plain
from attar.stores.protocols import Codec, Recipe
from attar.stores.store import StorePath


class Store(plain.Store):
    """`attar.stores.store.Store`, where codec may be a spec string and encoder a name."""

    @classmethod
    def create(
        cls,
        path: StorePath,
        codec: Codec | Recipe | str = "float32",
        encoder: Any = None,
        metric: str = "cosine",
        keep_originals: bool | None = None,
        overwrite: bool = False,
        **settings: Any,
    ) -> Self:
        """Make an empty store and open it for writing; see `attar.stores.store.Store.create`.

        codec: a fitted codec, a recipe, or a spec string such as `pca50%+float8_e4m3`. encoder: an
        encoder object or a name that `attar.encoder` knows.
        """
        recipe = parse_codec(codec) if isinstance(codec, str) else codec
        attached = None if encoder is None else make_encoder(encoder)
        return super().create(path, recipe, attached, metric, keep_originals, overwrite, **settings)

    @classmethod
    def open(
        cls,
        path: StorePath,
        mode: str = "r",
        budget: int | str | None = None,
        *,
        encoder: Any = None,
        **settings: Any,
    ) -> Self:
        """Open a store; see `attar.stores.store.Store.open`. encoder: an object or a name."""
        attached = None if encoder is None else make_encoder(encoder)
        settings |= {"load_codec": load_codec, "load_recipe": parse_codec}
        if isinstance(budget, str):
            from attar.retrieval.planner.choice import parse_size

            budget = parse_size(budget)
        return super().open(path, mode, budget, encoder=attached, **settings)


def open(  # noqa: A001 - `attar.open` is what people type
    path: StorePath, mode: str = "r", budget: int | str | None = None, **settings: Any
) -> Store:
    """Open a store: "r" for a snapshot to search, "w" to change it.

    budget: bytes of codes and sketches in memory, a number or a string such as "200MB" (MB =
    10^6): sketches stay, codes are read from disk when candidates are scored. encoder: an
    encoder or its name, for searches by text; another one than the store's is refused.
    """
    return Store.open(path, mode, budget, **settings)
