"""Whether to change the model, and how: the cheapest way that the sample cannot tell from the best.

1. Every option is compared with staying, query by query (paired bootstrap). One that is not shown
   to be better than staying is never advised.
2. Of those that are, and staying, the best mean is the mark.
3. The advice is the cheapest that is not shown to be worse than the mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attar.retrieval.compat.anchor_drift import AnchorDrift
from attar.retrieval.compat.options import BRIDGE, REEMBED, RESCORE, STAY, Option
from attar.retrieval.evaluation.bootstrap import Interval, bootstrap_interval, paired_bootstrap

COST = (STAY, BRIDGE, RESCORE, REEMBED)
"""From nothing to do to everything to do."""

WIDEST = 0.04


@dataclass(frozen=True)
class Judged:
    """quality: nDCG@10. gain: against staying, paired. of_new: over re-embedding, or None.

    The interval of the quality itself holds what differs from query to query; `gain` is what
    decides.
    """

    name: str
    how: str
    quality: Interval
    gain: Interval
    of_old: float
    of_new: float | None


@dataclass(frozen=True)
class Verdict:
    """advice: stay, bridge, rescore or re-embed; `how` its method; `why` a sentence."""

    advice: str
    how: str
    why: str
    options: tuple[Judged, ...]
    drift: AnchorDrift | None
    queries: int

    @property
    def widest(self) -> float:
        """Width of the widest interval of a gain."""
        return max(each.gain.high - each.gain.low for each in self.options)


def judge(options: Sequence[Option], drift: AnchorDrift | None = None, *, seed: int = 0) -> Verdict:
    """The verdict on measured options, of which one is staying."""
    stay = next(each for each in options if each.name == STAY)
    new = next((each for each in options if each.name == REEMBED), None)
    top = None if new is None else float(new.values.mean())
    judged = tuple(_judged(each, stay, top, seed) for each in options)
    eligible = [
        (each, said)
        for each, said in zip(options, judged, strict=True)
        if each.name == STAY or said.gain.low > 0
    ]
    best, _ = max(eligible, key=lambda pair: float(pair[0].values.mean()))
    advised, said = min(
        (pair for pair in eligible if not _worse(pair[0], best, seed)),
        key=lambda pair: (COST.index(pair[0].name), pair[0].extra),
    )
    why = _why(said, drift, len(eligible) == 1, judged)
    return Verdict(advised.name, advised.how, why, judged, drift, len(stay.values))


def _judged(option: Option, stay: Option, top: float | None, seed: int) -> Judged:
    quality = bootstrap_interval(option.values, seed=seed, samples=2000)
    gain = paired_bootstrap(option.values, stay.values, seed=seed, samples=2000)
    base = float(stay.values.mean())
    return Judged(
        option.name,
        option.how,
        quality,
        gain,
        quality.mean / base if base else float("inf"),
        None if top is None else (quality.mean / top if top else float("inf")),
    )


def _worse(option: Option, best: Option, seed: int) -> bool:
    """Whether the queries show that the best is better."""
    if not np.any(option.values != best.values):
        return False
    return paired_bootstrap(best.values, option.values, seed=seed, samples=2000).low > 0


def _why(said: Judged, drift: AnchorDrift | None, alone: bool, all_: Sequence[Judged]) -> str:
    apart = (
        " The two encoders are unrelated: no map between them can help."
        if drift is not None and drift.unrelated
        else ""
    )
    if alone:
        best = max(all_, key=lambda each: each.gain.mean)
        more = "" if best.gain.high - best.gain.low <= WIDEST else " More queries would tell more."
        return f"Nothing is shown to be better than staying on these queries.{more}{apart}"
    if said.name == STAY:
        return f"What is better is not shown to be so by these queries.{apart}"
    gain = said.gain
    return (
        f"{gain.mean:+.4f} nDCG@10 [{gain.low:+.4f}, {gain.high:+.4f}] against staying; "
        f"nothing dearer is shown to be better.{apart}"
    )
