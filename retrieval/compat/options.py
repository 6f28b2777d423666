"""What each way to go would be worth: quality per query, measured on a sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.codec import Codec
from attar.retrieval.compat.choosing import ADAPTERS, MOST_PAIRS, SIDES, fit_bridge
from attar.retrieval.compat.graded import Grades, best_rows, ndcg
from attar.retrieval.compat.rescoring import CANDIDATES, Rescoring, Scale
from attar.stores.types import Float32

STAY, REEMBED, RESCORE, BRIDGE = "stay", "re-embed", "rescore", "bridge"
FOLDS = 2
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """The same documents and questions by both models, and which answer which.

    old_documents [n d]: as the store gives them back, so compressed. new_documents [n e]: by the
    new model, or None when there are no texts. old_queries [m d], new_queries [m e]. grades: for
    each query, row -> grade. pairs: (old [p d], new [p e]) of other texts, to fit bridges on where
    new_documents is None.
    """

    old_documents: Float32
    new_documents: Float32 | None
    old_queries: Float32
    new_queries: Float32
    grades: Grades
    pairs: tuple[Float32, Float32] | None = None

    def __post_init__(self) -> None:
        m = len(self.old_queries)
        if not m or len(self.new_queries) != m or len(self.grades) != m:
            raise ValueError(
                f"A sample has the same queries by both models, each with grades; got {m}, "
                f"{len(self.new_queries)} and {len(self.grades)}."
            )
        if self.new_documents is not None and len(self.new_documents) != len(self.old_documents):
            raise ValueError("A sample has the same documents by both models, row by row.")


@dataclass(frozen=True)
class Option:
    """One way to go. name: stay, re-embed, rescore or bridge. how: the method that was best.

    extra: work beyond the cheapest form of this way; of two equal bridges the one for queries wins.
    """

    name: str
    how: str
    values: Values
    extra: int = 0


@dataclass(frozen=True)
class Ways:
    """Everything that was measured, before anything is chosen.

    plain: staying, and re-embedding where there are texts. rescored: weight -> values. bridges:
    side -> method -> values, each query by a fit that knows none of its documents. folds: which
    half each query was measured in [m].
    """

    plain: tuple[Option, ...]
    rescored: Mapping[float, Values]
    bridges: Mapping[str, Mapping[str, Values]]
    folds: NDArray[np.int64]

    def options(self, queries: NDArray[np.int64] | None = None) -> list[Option]:
        """The options that these queries (rows; None is all) would choose, with their values."""
        rows = np.arange(len(self.folds)) if queries is None else queries
        found = [Option(o.name, o.how, o.values[rows]) for o in self.plain]
        if self.rescored:
            weight = max(self.rescored, key=lambda w: float(self.rescored[w][rows].mean()))
            how = f"{CANDIDATES} candidates, weight {weight}"
            found.append(Option(RESCORE, how, self.rescored[weight][rows]))
        for side, methods in self.bridges.items():
            kept = {name: values[rows] for name, values in methods.items()}
            found.append(_crossed(side, kept, self.folds[rows]))
        return found


def measure_options(
    sample: Sample,
    recipe: Codec | None = None,
    *,
    adapters: Sequence[str] = tuple(ADAPTERS),
    seed: int = 0,
) -> list[Option]:
    """nDCG@10 per query of staying, re-embedding, rescoring and the best adapter of each kind.

    recipe: codec of the re-embedded store, fitted here; None keeps float32. Adapters are measured
    out of sample: see `measure_ways`.
    """
    return measure_ways(sample, recipe, adapters=adapters, seed=seed).options()


def measure_ways(
    sample: Sample,
    recipe: Codec | None = None,
    *,
    adapters: Sequence[str] = tuple(ADAPTERS),
    seed: int = 0,
) -> Ways:
    """nDCG@10 per query of every way and method.

    Adapters: queries fall into two folds. For each fold they are fitted on min(4000, n/2) documents
    of which none is relevant to that fold; the method that counts in a fold is the one that was
    best in the other.
    """
    old = np.asarray(sample.old_queries @ sample.old_documents.T)
    plain = [Option(STAY, "the old model", ndcg(best_rows(old), sample.grades))]
    kept, rescored = _compressed(sample.new_documents, recipe, seed), {}
    if kept is not None:
        new = np.asarray(sample.new_queries @ kept.T)
        plain.append(Option(REEMBED, "the new model", ndcg(best_rows(new), sample.grades)))
        rescored = _rescored(old, new, sample.grades)
    folds = np.random.default_rng(seed).permutation(len(sample.old_queries)) % FOLDS
    return Ways(tuple(plain), rescored, _bridges(sample, adapters, folds, seed), folds)


def _compressed(x: Float32 | None, recipe: Codec | None, seed: int) -> Float32 | None:
    if x is None or recipe is None or len(x) < recipe.min_rows(x.shape[1]):
        return x
    codec = recipe.fit(x, seed=seed)
    return codec.decode(codec.encode(x))


def _rescored(old: Float32, new: Float32, grades: Grades) -> dict[float, Values]:
    """By both weights: the mean of both models, and the new model alone."""
    rows = best_rows(old, CANDIDATES)
    a, b = np.take_along_axis(old, rows, axis=1), np.take_along_axis(new, rows, axis=1)
    scale = Scale.of(a.ravel(), b.ravel())
    return {w: ndcg(Rescoring(weight=w).rank(rows, a, b, scale), grades) for w in (0.5, 1.0)}


def _bridges(
    sample: Sample, adapters: Sequence[str], folds: NDArray[np.int64], seed: int
) -> dict[str, dict[str, Values]]:
    m = len(sample.old_queries)
    values = {side: {name: np.zeros(m) for name in adapters} for side in SIDES}
    for fold in range(FOLDS):
        mine = np.flatnonzero(folds == fold)
        pairs = _pairs_beside(sample, mine, seed + fold)
        if pairs is None or not len(mine) or not adapters:
            return {}
        grades = [sample.grades[q] for q in mine.tolist()]
        for side in SIDES:
            for name in adapters:
                bridge = fit_bridge(name, side, *pairs, seed)
                scores = bridge.scores(sample.new_queries[mine], sample.old_documents)
                values[side][name][mine] = ndcg(best_rows(scores), grades)
    return values


def _pairs_beside(
    sample: Sample, queries: NDArray[np.int64], seed: int
) -> tuple[Float32, Float32] | None:
    if sample.new_documents is None:
        return sample.pairs
    n = len(sample.old_documents)
    answers = {row for q in queries.tolist() for row in sample.grades[q]}
    free = np.setdiff1d(np.arange(n), np.fromiter(answers, np.int64, len(answers)))
    free = free[sample.old_documents[free].any(axis=1)]
    some = np.random.default_rng(seed).permutation(free)[: min(MOST_PAIRS, max(n // 2, 1))]
    if len(some) < 64:
        return None
    return sample.old_documents[some], sample.new_documents[some]


def _crossed(side: str, found: Mapping[str, Values], folds: NDArray[np.int64]) -> Option:
    values, chosen = np.zeros(len(folds)), []
    for fold in range(FOLDS):
        mine, other = folds == fold, folds != fold
        name = max(found, key=lambda each: float(found[each][other].mean()))
        values[mine] = found[name][mine]
        chosen.append(name)
    how = f"{side}-side {'/'.join(dict.fromkeys(chosen))}"
    return Option(BRIDGE, how, values, SIDES.index(side))
