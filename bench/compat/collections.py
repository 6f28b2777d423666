"""Collections embedded by two models, and planted pairs of models whose best way is known."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from attar.retrieval.codec import Codec
from attar.retrieval.compat.options import Sample
from bench.codecs.splits import load

SETS = ("scifact", "squad", "cranfield")
DIRECTIONS = (("minilm", "mpnet"), ("mpnet", "minilm"))
TOKENS = "maximum 256 tokens"


@dataclass(frozen=True, eq=False)
class Pair:
    """One collection by an old and a new model; grades of the judged queries by document row."""

    name: str
    old_x: np.ndarray
    old_q: np.ndarray
    new_x: np.ndarray
    new_q: np.ndarray
    grades: list[dict[int, int]]

    def sample(self, codec: str | None, seed: int, documents: int, queries: int) -> Sample:
        """What a verdict sees: some documents, all that are relevant to its queries among them."""
        draw = np.random.default_rng(seed)
        asked = np.sort(draw.permutation(len(self.grades))[:queries])
        needed = {row for q in asked for row in self.grades[q]}
        others = [row for row in draw.permutation(len(self.old_x)).tolist() if row not in needed]
        rows = np.sort([*needed, *others[: max(documents - len(needed), 0)]])
        place = {int(row): at for at, row in enumerate(rows)}
        grades = [{place[row]: g for row, g in self.grades[q].items()} for q in asked]
        old = self.stored(codec)[rows]
        return Sample(old, self.new_x[rows], self.old_q[asked], self.new_q[asked], grades)

    def stored(self, codec: str | None) -> np.ndarray:
        """Old documents as a store with this codec gives them back."""
        collection, _, models = self.name.partition(" ")
        if codec is not None and ">" in models:
            return _compressed_real(collection, models.split(">")[0], codec)
        return compressed(self.old_x, codec)


@lru_cache(8)
def _compressed_real(name: str, model: str, codec: str) -> np.ndarray:
    return compressed(load(name, model).x, codec)


def compressed(x: np.ndarray, codec: str | None) -> np.ndarray:
    """What a store gives back of vectors that it keeps under a codec fitted on them."""
    if codec is None:
        return x
    fitted = Codec.parse(codec).fit(x)
    return fitted.decode(fitted.encode(x))


def real(name: str, old: str, new: str) -> Pair:
    """A collection by two real models."""
    a, b = load(name, old), load(name, new)
    place = {document: row for row, document in enumerate(a.documents)}
    asked = [row for row, query in enumerate(a.queries) if query in a.qrels]
    grades = [
        {place[d]: g for d, g in a.qrels[a.queries[row]].items() if d in place and g > 0}
        for row in asked
    ]
    return Pair(f"{name} {old}>{new}", a.x, a.q[asked], b.x, b.q[asked], grades)


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def _noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) / np.sqrt(shape[1])


def bridge_wins(name: str, seed: int) -> Pair:
    """The new space is the old one turned; the old model's queries are noisy, its documents not.

    Turned back, the new queries find in the old store what a full re-embed would find.
    """
    base = real(name, "minilm", "mpnet")
    turn, _ = np.linalg.qr(_noise((base.old_x.shape[1],) * 2, seed + 1))
    old_q = _unit(base.old_q + 0.7 * _noise(base.old_q.shape, seed + 2))
    new_x = _unit((base.old_x + 0.05 * _noise(base.old_x.shape, seed + 3)) @ turn)
    return Pair(f"{name} turned", base.old_x, old_q, new_x, _unit(base.old_q @ turn), base.grades)


def nothing_helps(name: str, seed: int) -> Pair:
    """The new model knows nothing: random directions."""
    base = real(name, "minilm", "mpnet")
    new_x, new_q = _unit(_noise(base.new_x.shape, seed)), _unit(_noise(base.new_q.shape, seed + 1))
    return Pair(f"{name} unrelated new", base.old_x, base.old_q, new_x, new_q, base.grades)


def only_reembedding_helps(name: str, seed: int) -> Pair:
    """The old model knows nothing, so its candidates are worthless too."""
    base = real(name, "minilm", "mpnet")
    old_x, old_q = _unit(_noise(base.old_x.shape, seed)), _unit(_noise(base.old_q.shape, seed + 1))
    return Pair(f"{name} unrelated old", old_x, old_q, base.new_x, base.new_q, base.grades)
