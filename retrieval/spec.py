"""Spec strings: what people type, files carry, and `str(codec)` gives back.

    spec = [reducer "+" …] quantizer        pca50%+float8_e4m3, float8_e4m3:scaled, pca192

Without a quantizer the numbers stay float32.
"""

from typing import TypeVar

from attar.retrieval.quantizer import Quantizer
from attar.retrieval.quantizers import QUANTIZERS, Float
from attar.retrieval.reducer import Reducer
from attar.retrieval.reducers import REDUCERS

T = TypeVar("T", Reducer, Quantizer)


def parse_spec(spec: str) -> tuple[tuple[Reducer, ...], Quantizer]:
    """Parse a spec string into its reducers and its quantizer.

    Raises ValueError for an unknown part (the known ones are listed), for a quantizer that is not
    last, and for an empty part.
    """
    if not isinstance(spec, str):
        raise ValueError(f"A codec spec is a string such as 'pca50%+float8_e4m3', got {spec!r}.")
    reducers: list[Reducer] = []
    parts = [part.strip() for part in spec.split("+")]
    for place, part in enumerate(parts):
        quantizer = _first(QUANTIZERS, part)
        if quantizer is not None:
            if place != len(parts) - 1:
                raise ValueError(
                    f"A quantizer must be the last part of a codec, got {part!r} before "
                    f"{parts[place + 1]!r} in {spec!r}; put reducers first."
                )
            return tuple(reducers), quantizer
        reducer = _first(REDUCERS, part)
        if reducer is None:
            raise ValueError(f"Unknown part {part!r} in codec {spec!r}. Known parts: {known()}.")
        reducers.append(reducer)
    return tuple(reducers), Float("float32")


def known() -> str:
    """Every form that a part may have, reducers first."""
    return ", ".join([*(r.form for r in REDUCERS), *(q.form for q in QUANTIZERS)])


def _first(methods: tuple[type[T], ...], part: str) -> T | None:
    parsed = (method.from_spec(part) for method in methods)
    return next((method for method in parsed if method is not None), None)
