"""Which codec for this corpus: measured on a sample, predicted for the whole, with intervals."""

from attar.retrieval.planner.choice import Goal
from attar.retrieval.planner.plan import Plan, make_plan

__all__ = ["Goal", "Plan", "make_plan"]
