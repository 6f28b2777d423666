"""The picture of a plan: quality against bytes, the front, the limit, the choice."""

from pathlib import Path
from typing import Any

from attar.retrieval.extras import require
from attar.retrieval.planner.plan import Plan

INK, FRONT, LIMIT, CHOICE = "#555555", "#1f5fa8", "#b8860b", "#c0392b"


def save_picture(plan: Plan, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; the same plan gives the same SVG. Needs the extra `plan`."""
    matplotlib = require("matplotlib", "plan")
    figures = require("matplotlib.figure", "plan")
    paths = [stem.with_name(stem.name + ending) for ending in (".png", ".svg")]
    with matplotlib.rc_context({"svg.hashsalt": "attar", "font.size": 9}):
        figure = figures.Figure(figsize=(7.2, 4.6), layout="constrained")
        _draw(figure.subplots(), plan)
        figure.savefig(paths[0], dpi=150)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _draw(axes: Any, plan: Plan) -> None:
    for point in plan.points:
        quality, on_front = point.quality, point in plan.front
        below, above = quality.mean - quality.low, quality.high - quality.mean
        axes.errorbar(
            point.total_bytes, quality.mean, yerr=[[max(0, below)], [max(0, above)]],
            fmt="o", color=INK, markersize=3.5, elinewidth=0.8, capsize=1.5,
        )  # fmt: skip
        axes.annotate(
            point.spec, (point.total_bytes, quality.mean), fontsize=6, color=INK,
            xytext=(-4, 3) if on_front else (4, -7), textcoords="offset points",
            ha="right" if on_front else "left",
        )  # fmt: skip
    xs = [point.total_bytes for point in plan.front]
    axes.plot(xs, [p.quality.mean for p in plan.front], color=FRONT, lw=1.4, label="Pareto front")
    if plan.limit:
        axes.plot(
            [nbytes * plan.total for nbytes, _ in plan.limit],
            [overlap for _, overlap in plan.limit],
            color=LIMIT, lw=1.2, ls="--", label="Gaussian rate–distortion curve (codes alone)",
        )  # fmt: skip
    axes.plot(
        plan.chosen.total_bytes, plan.chosen.quality.mean, "o", markersize=11,
        markerfacecolor="none", markeredgewidth=1.8, color=CHOICE,
        label=f"chosen: {plan.chosen.spec}",
    )  # fmt: skip
    if plan.goal.keep is not None:
        axes.axhline(plan.goal.keep, color=CHOICE, lw=0.7, ls=":", label="to be kept")
    if plan.goal.budget is not None:
        axes.axvline(plan.goal.budget, color=CHOICE, lw=0.7, ls=":", label="budget")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:.3g}")
    axes.set_xlabel("MB of the whole corpus, side data included (MB = 10$^6$ bytes)")
    axes.set_ylabel(
        "predicted overlap@10 with exact float32"
        if plan.goal.metric == "overlap@10"
        else "share of float32's nDCG@10"
    )
    axes.set_title(f"{plan.total:,} documents, from a sample of {plan.sample:,}", fontsize=9)
    axes.grid(alpha=0.25, lw=0.5)
    axes.legend(loc="lower right", fontsize=7.5, frameon=False)
