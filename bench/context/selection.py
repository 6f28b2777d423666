"""What is left of an answer when a text is shortened: selection against truncation, equal budgets.

Three SQuAD paragraphs, one of which answers; the share of questions whose gold answer can still be
read, literally, in what a method leaves of half, a quarter and an eighth of the tokens. No language
model is asked: this is an upper bound for what comes after.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.context import EncoderScore, Select, Truncate, counter
from attar.context.middleware.compaction import TextCompressor
from attar.context.text.passages import old_and_recent
from attar.retrieval.encoders import make_encoder
from bench.context.compllm_qa import contexts, interval
from bench.registry import Result, bench

PARAGRAPHS, EACH, SEED = 20, 5, 1
SHARES = (2, 4, 8)
BASELINES = ("truncation, head", "truncation, tail", "truncation, both ends")


class Remembering:
    """An encoder that embeds each text once: all questions of a context share its sentences."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint
        self.seen: dict[str, NDArray[np.float32]] = {}

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed what is new."""
        new = [t for t in dict.fromkeys(texts) if t not in self.seen]
        if new:
            self.seen |= dict(zip(new, self.encoder.encode_documents(new), strict=True))
        return np.stack([self.seen[t] for t in texts])

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed questions."""
        return np.asarray(self.encoder.encode_queries(texts), np.float32)


def methods(encoder: Any) -> dict[str, TextCompressor]:
    """Return every way to shorten a text."""
    select = Select()
    return {
        "truncation, head": Truncate("head"),
        "truncation, tail": Truncate("tail"),
        "truncation, both ends": Truncate("ends"),
        "old selected, recent half raw": lambda text, budget, query, count: old_and_recent(
            text, budget, query, count, select
        ),
        "selection, BM25": select,
        "selection, MiniLM": Select(EncoderScore(encoder, lexical=0.0)),
        "selection, MiniLM and BM25": Select(EncoderScore(encoder)),
    }


@bench("context/selection", gate="tests/context/test_text.py")
def selection(quick: bool) -> Result:
    count = counter()
    encoder = Remembering(make_encoder("all-MiniLM-L6-v2"))
    ways = methods(encoder)
    kept: dict[tuple[str, int], list[list[float]]] = {(m, s): [] for m in ways for s in SHARES}
    for paragraphs, questions in contexts(3 if quick else PARAGRAPHS, EACH, SEED):
        text = "\n\n".join(paragraphs)
        budgets = {share: count.text(text) // share for share in SHARES}
        for (name, share), found in kept.items():
            short = [ways[name](text, budgets[share], q, count) for q, _ in questions]
            assert all(count.text(s) <= budgets[share] for s in short)
            found.append([float(a in s) for s, (_, a) in zip(short, questions, strict=True)])
    mean = {key: float(np.mean([x for g in groups for x in g])) for key, groups in kept.items()}
    rows = []
    for name in ways:
        row: dict[str, Any] = {"method": name}
        for share in SHARES:
            best = max(BASELINES, key=lambda b: mean[b, share])
            gain = [
                [a - b for a, b in zip(x, y, strict=True)]
                for x, y in zip(kept[name, share], kept[best, share], strict=True)
            ]
            low, high = interval(gain, SEED)
            row |= {
                f"1/{share}": mean[name, share],
                f"1/{share} gain": f"{np.mean([x for g in gain for x in g]):.3f} "
                f"[{low:.3f}, {high:.3f}]",
            }
        rows.append(row)
    questions = sum(len(g) for g in kept["selection, BM25", 2])
    setup = {
        "questions": questions, "contexts": len(kept["selection, BM25", 2]), "seed": SEED,
        "encoder": encoder.name, "counter": count.name,
        "gain": "over the best truncation at the same budget, 95 % interval over contexts",
    }  # fmt: skip
    return Result(rows, setup)
