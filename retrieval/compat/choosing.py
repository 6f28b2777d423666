"""Which adapter: fitted, then judged by what its queries find."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.compat.adapter import Adapter, FittedAdapter
from attar.retrieval.compat.graded import best_rows, ndcg
from attar.retrieval.compat.kronecker import Kronecker
from attar.retrieval.compat.low_rank_affine import LowRankAffine
from attar.retrieval.compat.procrustes import Procrustes
from attar.retrieval.compat.residual_mlp import ResidualMLP
from attar.retrieval.compat.ridge import Ridge
from attar.stores.types import Float32

MOST_PAIRS = 4000
ADAPTERS: dict[str, Adapter] = {
    "ridge": Ridge(),
    "procrustes": Procrustes(),
    "low-rank": LowRankAffine(),
    "residual-mlp": ResidualMLP(),
    "kronecker": Kronecker(),
}
QUERY, DOCUMENT = "query", "document"
SIDES = (QUERY, DOCUMENT)


@dataclass(frozen=True)
class Bridge:
    """A fitted adapter and where it stands.

    side "query": new queries -> old space, nothing is written. side "document": old codes -> new
    space, searched with new queries.
    """

    name: str
    side: str
    adapter: FittedAdapter

    def scores(self, queries: Float32, documents: Float32) -> Float32:
        """Scores [m n] of new-model queries [m e] for old-model documents [n d] (decoded codes)."""
        if self.side == QUERY:
            return np.asarray(self.adapter.apply(queries) @ documents.T)
        return np.asarray(queries @ self.adapter.apply(documents).T)


def fit_bridge(name: str, side: str, old: Float32, new: Float32, seed: int = 0) -> Bridge:
    """Fit a method of `ADAPTERS` on pairs old [p d], new [p e] for a side."""
    if side not in SIDES or name not in ADAPTERS:
        raise ValueError(
            f"An adapter is one of {', '.join(ADAPTERS)} on side {' or '.join(SIDES)}, got "
            f"{name!r} on {side!r}."
        )
    source, target = (new, old) if side == QUERY else (old, new)
    return Bridge(name, side, ADAPTERS[name].fit(source, target, seed))


def choose_bridge(
    old: Float32,
    new: Float32,
    *,
    names: Sequence[str] = tuple(ADAPTERS),
    sides: Sequence[str] = SIDES,
    seed: int = 0,
) -> tuple[Bridge, dict[tuple[str, str], float]]:
    """Choose by held-out retrieval and fit the winner on all pairs; returns it and all qualities.

    old [p d], new [p e]: the same documents by both models. Without judged queries the new model
    says what is right: a fifth of the pairs are held out as questions, the five nearest of each in
    the new model's own space are relevant, and quality is nDCG@10 of finding them through the
    bridge. Cosine of mapped and true vectors plays no part: it does not predict retrieval.
    """
    rows = np.random.default_rng(seed).permutation(len(old))
    cut = max(1, min(len(rows) // 5, 500))
    asked, rest = rows[:cut], rows[cut:]
    truth = best_rows(new[asked] @ new[rest].T, 5)
    grades = [dict.fromkeys(row.tolist(), 1) for row in truth]
    quality: dict[tuple[str, str], float] = {}
    for side in sides:
        for name in names:
            bridge = fit_bridge(name, side, old[rest], new[rest], seed)
            found: NDArray[np.int64] = best_rows(bridge.scores(new[asked], old[rest]))
            quality[name, side] = float(ndcg(found, grades).mean())
    best = max(quality, key=lambda key: quality[key])
    return fit_bridge(*best, old, new, seed), quality
