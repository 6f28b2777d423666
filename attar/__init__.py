"""attar: retrieval stores, image tokens and long prompts, several times smaller.

    codec = attar.codec("pca50%+float8_e4m3").fit(x)
    with attar.Store.create("index", codec=codec) as store:
        store.add(ids, vectors=x)
        hits = store.search(q, k=10)

Importing this package has no effect and imports neither torch nor numpy: names load when used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attar.codecs import codec as codec
    from attar.codecs import load_codec as load_codec
    from attar.encoders import encoder as encoder
    from attar.indexing import build_index as build_index
    from attar.remote import RemoteStore as RemoteStore
    from attar.store import Store as Store
    from attar.store import open as open

__version__ = "0.1.0"

_WHERE = {
    "codec": "attar.codecs",
    "load_codec": "attar.codecs",
    "encoder": "attar.encoders",
    "build_index": "attar.indexing",
    "RemoteStore": "attar.remote",
    "Store": "attar.store",
    "open": "attar.store",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'attar' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
