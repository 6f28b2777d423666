"""Questions where nobody wrote any: a sentence of a document, which that document answers."""

import re
from collections.abc import Sequence

import numpy as np

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
LEAST, MOST = 5, 40
"""Words of a sentence that can stand for a question."""


def made_questions(texts: Sequence[str], seed: int = 0) -> tuple[list[int], list[str]]:
    """Rows of texts that have a usable sentence, and one such sentence of each, drawn.

    Known items: easier than what people ask, and as fair to one model as to the other. A text
    without a sentence of 5 to 40 words gives its first 20 words; an empty one is left out.
    """
    draw = np.random.default_rng(seed)
    rows, questions = [], []
    for row, text in enumerate(texts):
        found = [s.strip() for s in _SENTENCE.findall(text)]
        usable = [s for s in found if LEAST <= len(s.split()) <= MOST]
        words = text.split()
        if not words:
            continue
        rows.append(row)
        chosen = usable[int(draw.integers(len(usable)))] if usable else " ".join(words[:20])
        questions.append(chosen)
    return rows, questions
