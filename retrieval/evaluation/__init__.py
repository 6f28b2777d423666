"""What compression costs: judged rankings, overlap with the exact answer, intervals."""

from attar.retrieval.evaluation.bootstrap import Interval, bootstrap_interval, paired_bootstrap
from attar.retrieval.evaluation.exact import exact_topk
from attar.retrieval.evaluation.metrics import METRICS, PerQuery, evaluate_run
from attar.retrieval.evaluation.overlap import overlap_at_k

__all__ = [
    "METRICS",
    "Interval",
    "PerQuery",
    "bootstrap_interval",
    "evaluate_run",
    "exact_topk",
    "overlap_at_k",
    "paired_bootstrap",
]
