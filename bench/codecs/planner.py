"""How far a plan from 5,000 documents is off for ten times as many.

The corpus is 50,000 vectors of `bench.search.generator` (768 dimensions, decaying spectrum,
clusters of Zipf sizes); besides, real ones: SciFact, SQuAD and Cranfield together (7,799 documents,
510 of their queries) from a sample of 2,000. The truth is the codec fitted on everything and asked
by the same queries, which is what a prediction should say before anything is built.
"""

import tempfile
from pathlib import Path

import numpy as np

import attar
from attar.retrieval.planner.measurement import Trial, exact_rows, measure
from attar.stores.types import Float32
from bench.machine import DATA
from bench.registry import Result, bench
from bench.search import generator

CODECS = (
    "waterfill@6x",
    "waterfill@8x",
    "waterfill@16x",
    "waterfill@32x",
    "waterfill@64x",
    "pca50%+float8_e4m3",
    "int8",
    "int4",
    "eden2",
    "binary:scaled",
)
BAR = 0.02


@bench("codecs/planner", gate="tests/retrieval/planner")
def planner(quick: bool) -> Result:
    """Predicted and true overlap@10, per codec; the largest error is the bar's."""
    n, sample, draws = (6_000, 2_000, 1) if quick else (50_000, 5_000, 2)
    with tempfile.TemporaryDirectory() as folder:
        x = np.array(generator.documents(n, Path(folder), 3))
    rows = _rows("synthetic, 768 d", x, generator.queries(500, x, 3), sample, draws)
    for model in ("minilm",) if quick else ("minilm", "mpnet"):
        real, asked = _real(model)
        rows += _rows(f"scifact+squad+cranfield, {model}", real, asked, 2_000, draws)
    errors = {row["codec"]: 0.0 for row in rows}
    for row in rows:
        if row["n"] == n:
            errors[row["codec"]] = max(errors[row["codec"]], abs(row["error"]))
    worst = max(errors, key=lambda codec: errors[codec])
    inside = sum(row["low"] <= row["true"] <= row["high"] for row in rows)
    return Result(
        rows,
        {
            "n": n,
            "sample": sample,
            "draws": draws,
            "queries": 500,
            "truth": "the same codec fitted on all documents, the same queries",
            "true values inside the 95 % interval": f"{inside} of {len(rows)}",
        },
        {
            "prediction error": {
                "bar": f"overlap@10 at n = {n:,} from {sample:,}: at most {BAR}",
                "measured": f"{errors[worst]:.4f} ({worst})",
                "met": None if quick else errors[worst] <= BAR,
            }
        },
    )


def _rows(
    name: str, x: Float32, queries: Float32, sample: int, draws: int
) -> list[dict[str, object]]:
    n = len(x)
    whole = Trial(x, queries, n, "cosine", 0, exact_rows(x, queries, "cosine"))
    truth = {spec: measure(attar.codec(spec), whole).quality.mean for spec in CODECS}
    rows: list[dict[str, object]] = []
    for draw in range(draws):
        part = x[np.random.default_rng(draw).permutation(n)[:sample]]
        exact = exact_rows(part, queries, "cosine")
        trial = Trial(part, queries, n, "cosine", draw, exact)
        for spec in CODECS:
            got = measure(attar.codec(spec), trial).quality
            rows.append(
                {
                    "data": name,
                    "n": n,
                    "sample": sample,
                    "draw": draw,
                    "codec": spec,
                    "at sample": got.at_sample,
                    "predicted": got.mean,
                    "low": got.low,
                    "high": got.high,
                    "true": truth[spec],
                    "error": got.mean - truth[spec],
                }
            )
    return rows


def _real(model: str) -> tuple[Float32, Float32]:
    """Three collections as one, with 170 queries of each."""
    folders = [DATA / "emb" / name / model for name in ("scifact", "squad", "cranfield")]
    documents = [np.load(folder / "corpus.npy") for folder in folders]
    queries = [np.load(folder / "queries.npy") for folder in folders]
    drawn = [q[np.random.default_rng(0).permutation(len(q))[:170]] for q in queries]
    return np.concatenate(documents), np.concatenate(drawn)
