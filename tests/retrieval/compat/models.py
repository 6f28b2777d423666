"""Two quick encoders of texts that know different things, and a corpus: no weights, no network."""

import os
import time
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from attar.retrieval.encoders import PythonCallable

_OLD = HashingVectorizer(n_features=64, analyzer="char_wb", ngram_range=(3, 3), norm="l2")
_NEW = HashingVectorizer(n_features=256, analyzer="word", norm="l2")


def narrow(texts: Sequence[str]) -> np.ndarray:
    """float32 [n 64] from character trigrams."""
    return _plus(_OLD.transform(texts).toarray())


def wide(texts: Sequence[str]) -> np.ndarray:
    """float32 [n 256] from words; ATTAR_TEST_SLOW seconds a call, so that a kill lands inside."""
    time.sleep(float(os.environ.get("ATTAR_TEST_SLOW", "0")))
    return _plus(_NEW.transform(texts).toarray())


def _plus(x: np.ndarray) -> np.ndarray:
    # A text of nothing but stop characters would be a zero vector.
    return np.asarray(x + 1e-4, np.float32)


OLD = PythonCallable(narrow, fingerprint="narrow-1")
NEW = PythonCallable(wide, fingerprint="wide-1")
WORDS = "amber basil cedar delta ember fjord grove heron iris jade kelp lotus maple north".split()


def corpus(n: int) -> tuple[list[str], list[str]]:
    """Ids and texts; every text has words of its own."""
    rng = np.random.default_rng(4)
    texts = [
        f"Entry {i} tells of {' '.join(rng.choice(WORDS, 4))} item{i * 7919 % 10007}. "
        f"It was seen near {' '.join(rng.choice(WORDS, 3))} and nowhere else."
        for i in range(n)
    ]
    return [f"d{i}" for i in range(n)], texts
