"""A quick encoder for builds that are killed: character trigrams, hashed, by scikit-learn."""

import os
import time
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

DIM = 48
VECTORIZER = HashingVectorizer(n_features=DIM, analyzer="char_wb", ngram_range=(3, 3), norm="l2")


def embed(texts: Sequence[str]) -> np.ndarray:
    """float32 [n 48]; ATTAR_TEST_SLOW seconds a call, so that a kill lands in the middle; every
    text is noted in ATTAR_TEST_TRACE, so that a test can count what was embedded."""
    time.sleep(float(os.environ.get("ATTAR_TEST_SLOW", "0")))
    if trace := os.environ.get("ATTAR_TEST_TRACE"):
        with open(trace, "a") as file:
            file.writelines(f"{text.split()[0]}\n" for text in texts)
    return VECTORIZER.transform(texts).toarray().astype(np.float32)


def broken(texts: Sequence[str]) -> np.ndarray:
    """As `embed`, but for what no store takes: vectors of texts about engines are NaN."""
    x = embed(texts)
    x[["engine" in text for text in texts]] = np.nan
    return x
