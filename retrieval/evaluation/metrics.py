"""How good rankings are, judged by people: nDCG@10, recall@100, MRR@10."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.extras import require

METRICS = {"nDCG@10": "nDCG@10", "recall@100": "R@100", "MRR@10": "RR@10"}
"""Our name -> the measure of ir-measures."""


@dataclass(frozen=True)
class PerQuery:
    """One value a query and metric: what means, intervals and flips are made of.

    query_ids: m of them, sorted. values: metric -> float64 [m], in their order, from 0 to 1.
    """

    query_ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]

    def means(self) -> dict[str, float]:
        """Metric -> mean over the queries."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def evaluate_run(
    run: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]
) -> PerQuery:
    """Judge rankings with ir-measures (trec_eval's definitions).

    run: query id -> document ids, best first. qrels: query id -> document id -> grade; a grade
    above 0 is relevant, nDCG uses it as the gain.

    Every judged query counts: one without a ranking gets 0, one that is not judged is left out.
    trec_eval would break equal scores by document id, backwards; rankings have no ties, so the
    order that is judged is the order that was given.
    """
    if not qrels:
        raise ValueError("Judgements name at least one query, got none; look at the qrels file.")
    for query, ranking in run.items():
        if isinstance(ranking, str) or len(set(ranking)) != len(ranking):
            raise ValueError(
                f"A ranking holds every document once, got a repeated one for query {query!r}; "
                "remove repetitions."
            )
    library = require("ir_measures", "eval")
    scored = {
        query: {document: float(-rank) for rank, document in enumerate(run[query])}
        for query in qrels
        if len(run.get(query, ())) > 0
    }
    query_ids = tuple(sorted(qrels))
    position = {query: row for row, query in enumerate(query_ids)}
    measures = {library.parse_measure(each): name for name, each in METRICS.items()}
    values = {name: np.zeros(len(query_ids)) for name in METRICS}
    plain_qrels = {query: dict(grades) for query, grades in qrels.items()}
    for each in library.iter_calc(list(measures), plain_qrels, scored):
        values[measures[each.measure]][position[each.query_id]] = each.value
    return PerQuery(query_ids, values)
