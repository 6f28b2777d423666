"""Encoders by name: what people type, and what a store keeps for display."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from attar.retrieval.encoders.model_folder import PACKAGED_MODEL
from attar.retrieval.encoders.open_clip import OpenCLIP
from attar.retrieval.encoders.openai_compatible import DEFAULT_URL, OpenAICompatible
from attar.retrieval.encoders.precomputed import Precomputed
from attar.retrieval.encoders.python_callable import PythonCallable
from attar.retrieval.encoders.sentence_transformers import SentenceTransformers
from attar.stores.protocols import Encoder

FORMS = {
    PACKAGED_MODEL: "the default model, without network",
    "FOLDER": "a model saved by sentence-transformers",
    "sentence-transformers:NAME": "a model of the hub, or a folder",
    "openai:MODEL[@URL][#dimensions=N]": "an endpoint that speaks OpenAI's embeddings API",
    "open-clip:ARCH/PRETRAINED": "a CLIP model for texts and images",
    "precomputed:FILE.npy": "vectors by id",
    "package.module:function": "any Python function list[str] -> array [n d]",
}
"""Form of a name -> what it makes."""


def make_encoder(encoder: str | Path | Encoder | Callable[..., Any]) -> Encoder:
    """Make an encoder of a name (see FORMS); encoders pass through, functions are wrapped.

    A name may import code or reach a service: take it from the user, never from a file that
    somebody else wrote. Nothing is loaded yet. ValueError lists the forms.
    """
    if isinstance(encoder, str | Path):
        return _named(str(encoder))
    if isinstance(encoder, type):
        raise TypeError(f"An encoder is an object, got the class {encoder.__name__}; call it.")
    # Not isinstance(encoder, Encoder): Python 3.11 would ask for `dim`, which loads the model.
    if hasattr(encoder, "encode_documents") and hasattr(encoder, "encode_queries"):
        return cast(Encoder, encoder)
    if callable(encoder):
        return PythonCallable(encoder)
    raise TypeError(
        f"An encoder is a name, an object with encode_documents and encode_queries, or a function, "
        f"got {type(encoder).__name__}.\n{_forms()}"
    )


def _named(name: str) -> Encoder:
    prefix, colon, rest = name.partition(":")
    makers: dict[str, Callable[[str], Encoder]] = {
        "sentence-transformers": SentenceTransformers,
        "openai": _openai,
        "open-clip": _open_clip,
        "precomputed": Precomputed,
    }
    if colon and prefix in makers:
        if not rest:
            raise ValueError(f"The encoder {name!r} lacks what follows the colon.\n{_forms()}")
        return makers[prefix](rest)
    if name == PACKAGED_MODEL or (name and Path(name).is_dir()):
        return SentenceTransformers(name)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        return _imported(name)
    raise ValueError(f"No encoder is called {name!r}, and no folder.\n{_forms()}")


def _openai(rest: str) -> OpenAICompatible:
    rest, _, short = rest.partition("#dimensions=")
    if short and not short.isdecimal():
        raise ValueError(f"dimensions is a whole number, got {short!r}.\n{_forms()}")
    found = re.fullmatch(r"(.+?)(?:@(https?://.+))?", rest)
    if found is None:
        raise ValueError(f"'openai:' is followed by MODEL or MODEL@URL, got {rest!r}.\n{_forms()}")
    model, url = found.groups()
    return OpenAICompatible(model, url or DEFAULT_URL, dimensions=int(short) if short else None)


def _open_clip(rest: str) -> OpenCLIP:
    arch, slash, pretrained = rest.partition("/")
    if not (arch and slash and pretrained):
        raise ValueError(f"'open-clip:' is followed by ARCH/PRETRAINED, got {rest!r}.\n{_forms()}")
    return OpenCLIP(arch, pretrained)


def _imported(name: str) -> Encoder:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"The encoder {name!r} names a Python module, and there is no {error.name!r}; "
            f"look at the spelling and at PYTHONPATH.\n{_forms()}"
        ) from error
    except AttributeError as error:
        raise ValueError(f"The module {module!r} has no {attribute!r}.\n{_forms()}") from error
    if hasattr(found, "encode_documents") or not callable(found):
        return make_encoder(found)
    return PythonCallable(found, name)


def _forms() -> str:
    width = max(map(len, FORMS))
    lines = (f"  {form:<{width}}  {meaning}" for form, meaning in FORMS.items())
    return "\n".join(("An encoder is one of", *lines))
