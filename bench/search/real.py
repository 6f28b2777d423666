"""The cascade on real embeddings: recall at calibrated widths, bytes that certified search touches.

The collections are small (1,200 to 5,200 documents): shares of bytes, not times, carry over.
"""

from typing import Any

import numpy as np

from attar.stores.cascade.calibration import calibrated
from attar.stores.cascade.search import approximate, survivors
from attar.stores.kernels.exact import exact_top
from attar.stores.types import Query
from bench.machine import DATA
from bench.registry import Result, bench
from bench.search.arms import Attar, overlap

SETS = (
    "scifact/minilm",
    "scifact/mpnet",
    "squad/minilm",
    "squad/mpnet",
    "cranfield/minilm",
    "cranfield/mpnet",
)


def touched(ours: Attar, query: Query, floor: float) -> tuple[float, float]:
    """Bytes that one certified search reads, as a share of all codes; share of rows scored."""
    index = ours.index
    rows, passed = survivors(index, query, floor, None, 1, "auto")
    n, code = len(index), ours.codec.bytes_per_vector
    head = index.codes.head_dims / 2 + 2
    body = index.codes.body_dims / 2 + 2
    return (n * head + passed * body + len(rows) * code) / (n * code), len(rows) / n


def measured(name: str, spec: str) -> dict[str, Any]:
    """One collection and codec as a row."""
    docs = np.load(DATA / "emb" / name / "corpus.npy").astype(np.float32)
    asked = np.load(DATA / "emb" / name / "queries.npy").astype(np.float32)[:200]
    ours = Attar(spec, docs, name.replace("/", "-"))
    query = ours.prepared(asked)
    truth = exact_top(ours.index.source, query, 10)
    cells: dict[str, Any] = {"data": name, "codec": spec, "docs": len(docs)}
    for wanted in (0.95, 0.99):
        widths = calibrated(ours.index, wanted)
        rows = approximate(ours.index, query, 10, widths).rows
        cells[f"recall at {wanted}"] = round(overlap(rows, truth.rows), 4)
        cells[f"widths at {wanted}"] = f"{widths.head}/{widths.body}"
    shares = [
        touched(ours, Query(query.coords[q : q + 1], query.const[q : q + 1]), truth.scores[q, -1])
        for q in range(50)
    ]
    cells["bytes touched, exact"] = round(float(np.mean([share for share, _ in shares])), 3)
    cells["rows scored, exact"] = round(float(np.mean([rows for _, rows in shares])), 3)
    return cells


@bench("search/real", gate="tests/stores/cascade")
def real(quick: bool) -> Result:
    """Calibration and certificate on embeddings of MiniLM (384 d) and mpnet (768 d)."""
    rows = [
        measured(name, spec)
        for name in (SETS[:2] if quick else SETS)
        for spec in ("int8", "waterfill@8x")
    ]
    setup = {"queries": "the first 200 (50 for the certificate)", "recall": "of the codes' top-10"}
    return Result(rows, setup)
