"""From a sample to a choice: measure every candidate, predict, choose."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from attar.retrieval.codec import Codec
from attar.retrieval.evaluation.exact import Metric
from attar.retrieval.planner.candidates import CANDIDATES
from attar.retrieval.planner.choice import Goal, choose, front
from attar.retrieval.planner.corpus_sample import CorpusSample
from attar.retrieval.planner.gaussian import gaussian_channel
from attar.retrieval.planner.measurement import (
    Judged,
    Point,
    Qrels,
    Trial,
    exact_rows,
    measure,
    top_rows_of,
)
from attar.retrieval.planner.prediction import Rankings, predict

FORMAT = 1
CURVE = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Bits per dimension at which the limit is drawn."""


@dataclass(frozen=True)
class Plan:
    """Everything that was measured and what was chosen.

    limit: (bytes per vector, predicted overlap@10) along the Gaussian rate-distortion curve, empty
    when nDCG decides. skipped: candidate -> why it was not tried.
    """

    goal: Goal
    total: int
    sample: int
    queries: int
    origin: str
    dim: int
    metric: str
    seed: int
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    chosen: Point
    limit: tuple[tuple[float, float], ...]
    skipped: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        content = asdict(self) | {
            "format": FORMAT,
            "front": [point.spec for point in self.front],
            "interval": "95 % over queries and documents of the sample; judged by its lower end",
        }
        return content


def make_plan(
    drawn: CorpusSample,
    goal: Goal,
    *,
    metric: Metric = "cosine",
    candidates: Sequence[str] = CANDIDATES,
    judged: tuple[tuple[str, ...], Qrels] | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Plan:
    """Try the candidates on a sample and choose for the whole corpus.

    judged: ids of the queries and judgements, needed for the metric ndcg@10, whose share is that of
    the sample (every judged document must be in it) and is not extrapolated. advance(1) after each
    candidate. Candidates that the sample is too small for are skipped, with the reason.
    """
    if (goal.metric == "ndcg@10") != (judged is not None):
        raise ValueError("nDCG@10 needs judged queries and overlap@10 none; pass --qrels for nDCG.")
    names = None if judged is None else Judged(drawn.ids, *judged)
    exact = exact_rows(drawn.documents, drawn.queries, metric)
    trial = Trial(drawn.documents, drawn.queries, drawn.total, metric, seed, exact, names)
    points, skipped = [], {}
    for spec in candidates:
        try:
            points.append(measure(Codec.parse(spec), trial))
        except ValueError as error:
            skipped[spec] = str(error)
        advance(1)
    if not points:
        raise ValueError(f"No candidate could be tried: {skipped}.")
    return Plan(
        goal,
        drawn.total,
        len(drawn.documents),
        len(drawn.queries),
        drawn.origin,
        drawn.documents.shape[1],
        metric,
        seed,
        tuple(points),
        tuple(front(points)),
        choose(points, goal),
        _limit(trial) if judged is None and metric == "cosine" else (),
        skipped,
    )


def _limit(trial: Trial) -> tuple[tuple[float, float], ...]:
    """Predicted overlap@10 of the Gaussian test channel, at the rates of CURVE."""
    unit = trial.documents / np.linalg.norm(trial.documents, axis=1, keepdims=True)
    channel = gaussian_channel(unit)
    sample, dim = unit.shape
    curve = []
    for bits in CURVE:
        nbytes = bits * dim / 8
        coded = channel.coded(nbytes, trial.seed)
        rankings = Rankings(trial.exact, top_rows_of(trial.queries, coded), None)
        curve.append((nbytes, predict(rankings, sample, trial.total, trial.seed).mean))
    return tuple(curve)
