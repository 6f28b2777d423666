"""Sentences scored against a question by an encoder of the retrieval room."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.context.text.select import lexical_score
from attar.stores.protocols import Encoder


@dataclass(frozen=True)
class EncoderScore:
    """Cosine of sentence and query under an encoder: `Select(EncoderScore(encoder))`.

    encoder: `attar.encoder(name)`, or any object of that Protocol. lexical: how much
    `lexical_score`, brought to a maximum of 1, adds to the cosine: names and numbers of the query
    are found by their letters. Without a query it is the lexical score alone.
    """

    encoder: Encoder
    lexical: float = 0.5

    def __post_init__(self) -> None:
        if self.lexical < 0:
            raise ValueError(f"lexical is a weight >= 0, got {self.lexical}.")

    def __call__(self, sentences: Sequence[str], query: str) -> list[float]:
        """Return one number per sentence, higher is better; blank sentences get the least."""
        words = np.asarray(lexical_score(sentences, query), dtype=np.float64)
        full = [i for i, s in enumerate(sentences) if s.strip()]
        if not query.strip() or not full:
            return [float(w) for w in words]
        documents = _unit(self.encoder.encode_documents([sentences[i] for i in full]))
        question = _unit(self.encoder.encode_queries([query]))[0]
        scores = np.full(len(sentences), -1.0)
        scores[full] = documents @ question
        return [float(s) for s in scores + self.lexical * words / max(words.max(), 1e-9)]


def _unit(x: NDArray[np.float32]) -> NDArray[np.float64]:
    vectors = np.asarray(x, dtype=np.float64)
    sizes = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors / sizes)
