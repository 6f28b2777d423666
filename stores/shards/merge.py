"""The best hits of several stores, in the one order of hits."""

from collections.abc import Sequence

import numpy as np

from attar.stores.types import Hits


def merge(answers: Sequence[Hits], k: int, offset: int = 0) -> Hits:
    """The hits offset, …, offset + k - 1 of all answers to the same m queries.

    Every answer holds the first offset + k of its store, or all of its matches. A row that is
    shorter than others ends with None and -inf.
    """
    if not answers:
        raise ValueError("Hits of at least one store are merged, got none.")
    if len({len(one) for one in answers}) > 1:
        raise ValueError("Every store answers every query; the numbers of answers differ.")
    rows = []
    for q in range(len(answers[0])):
        found = [
            (-score, name.encode(), name)
            for one in answers
            for name, score in zip(one.ids[q].tolist(), one.scores[q].tolist(), strict=True)
            if name is not None
        ]
        rows.append(sorted(found)[offset : offset + k])
    width = max(map(len, rows), default=0)
    ids = np.full((len(rows), width), None, object)
    scores = np.full((len(rows), width), -np.inf, np.float32)
    for q, row in enumerate(rows):
        for column, (negated, _, name) in enumerate(row):
            ids[q, column], scores[q, column] = name, -negated
    return Hits(ids, scores)
