"""Any Python function from texts to vectors as an encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attar.retrieval.encoders.texts import checked_texts, checked_vectors


@final
@dataclass(frozen=True)
class PythonCallable:
    """A function `list[str] -> array [n d]` as an encoder; its output is checked on every call.

    function: embeds documents, and queries too unless `query_function` is given.
    name: for display; None takes `module:qualname`, which `make_encoder` can import again.
    fingerprint: any string that changes when the numbers change. Code cannot be hashed honestly
    (it reaches weights, files and services), so none is derived: "" means unknown, and a store then
    checks the dimension and its probe vectors only.
    query_function: embeds queries, for models that treat them differently.
    """

    function: Callable[[list[str]], ArrayLike]
    name: str = ""
    fingerprint: str = ""
    query_function: Callable[[list[str]], ArrayLike] | None = None

    def __post_init__(self) -> None:
        for function in (self.function, self.query_function):
            if function is not None and not callable(function):
                raise TypeError(
                    f"An encoder function maps list[str] to an array, got "
                    f"{type(function).__name__}; pass a function or an object with __call__."
                )
        if not self.name:
            module = getattr(self.function, "__module__", None) or "python"
            name = getattr(self.function, "__qualname__", type(self.function).__name__)
            object.__setattr__(self, "name", f"{module}:{name}")

    @cached_property
    def dim(self) -> int:
        """Dimensions d of the vectors, found by embedding one word."""
        return int(checked_vectors(self.function(["probe"]), 1, None, self.name).shape[1])

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Documents to float32 [n d]."""
        return self._encode(texts, self.function)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Queries to float32 [m d]."""
        return self._encode(texts, self.query_function or self.function)

    def _encode(
        self, texts: Sequence[str], function: Callable[[list[str]], ArrayLike]
    ) -> NDArray[np.float32]:
        checked = checked_texts(texts, self.name)
        if not checked:
            return np.zeros((0, self.dim), np.float32)
        return checked_vectors(function(checked), len(checked), self.dim, self.name)
