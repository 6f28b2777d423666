"""Repeats arXiv 2505.00105 (float8 + PCA) and puts the correct number beside each of its numbers.

    python examples/reproduce_float8_pca.py --quick         small data that ships here, one model
    python examples/reproduce_float8_pca.py --data FOLDER   SciFact, Cranfield, SQuAD; two models
    python examples/reproduce_float8_pca.py --page          write docs/reproduction.md from the JSON

FOLDER holds `emb/<collection>/<model>/{corpus,queries}.npy`, the ids of their rows in
`emb/<collection>/{corpus,query}_ids.json`, and `ir/<collection>/qrels/test.tsv`. Every method is a
ladder: its first step is what the reference code does (read in its source: both sides are cast,
int8 is compared as codes, PCA is centred and fitted on questions of another collection, everything
is compared by cosine), each further step changes one thing, the last is what this library does.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import attar
from attar.retrieval.evaluation import evaluate_run, exact_topk, overlap_at_k, paired_bootstrap
from attar.retrieval.sources import read_qrels

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "results" / "codecs_reproduction.json"
PAGE = ROOT / "docs" / "reproduction.md"
SHIPPED = Path(__file__).parent / "data" / "scifact"
COLLECTIONS = ("scifact", "cranfield", "squad")
MODELS = ("minilm", "mpnet")
ELSEWHERE = {"scifact": "squad", "cranfield": "squad", "squad": "scifact"}
FITTED_ON = 2048
SEED = 42

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Data:
    """Documents x [n d], judged queries q [m d], and vectors of questions from elsewhere."""

    name: str
    x: Float32
    q: Float32
    elsewhere: Float32
    ids: list[str]
    query_ids: list[str]
    qrels: dict[str, dict[str, int]]

    @property
    def sample(self) -> Float32:
        """What codecs are fitted on: at most 2,048 of the documents."""
        rows = np.random.default_rng(SEED).permutation(len(self.x))[:FITTED_ON]
        return self.x[np.sort(rows)]


def cosine(q: Float32, x: Float32) -> Float32:
    """Cosines [m n]; a zero vector is similar to nothing."""
    unit = [a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12) for a in (q, x)]
    return unit[0] @ unit[1].T


def both(change: Callable[[Float32], Float32]) -> Callable[[Data], Float32]:
    """The reference code's way: change queries and documents alike, then compare by cosine."""
    return lambda data: cosine(change(data.q), change(data.x))


def cast(dtype: Any) -> Callable[[Data], Float32]:
    """A raw cast and back, of both sides."""
    return both(lambda a: a.astype(dtype).astype(np.float32))


def uint8_codes(a: Float32, ranges: Float32, wrap: bool) -> Float32:
    """Unsigned codes between the smallest and largest value of `ranges`, as floats."""
    low = ranges.min(axis=0)
    step = np.maximum((ranges.max(axis=0) - low) / 255, 1e-12)
    codes = np.trunc((a - low) / step).astype(np.int64)
    return (codes & 255 if wrap else np.clip(codes, 0, 255)).astype(np.float32)


def uint8(where: str, wrap: bool) -> Callable[[Data], Float32]:
    """Cosine of undequantised codes, ranges from `elsewhere` or from the corpus."""

    def run(data: Data) -> Float32:
        ranges = data.elsewhere if where == "elsewhere" else data.sample
        return both(lambda a: uint8_codes(a, ranges, wrap))(data)

    return run


def project(make: Callable[[int], Any], where: str, dtype: Any = None) -> Callable[[Data], Float32]:
    """Fit a scikit-learn reducer to half of the dimensions, transform both sides, maybe cast."""

    def run(data: Data) -> Float32:
        model = make(data.x.shape[1] // 2)
        model.fit(data.elsewhere if where == "elsewhere" else data.sample)
        sides = [model.transform(a).astype(np.float32) for a in (data.q, data.x)]
        if dtype is not None:
            sides = [a.astype(dtype).astype(np.float32) for a in sides]
        return cosine(*sides)

    return run


def pca(width: int) -> Any:
    """The reference code's PCA."""
    from sklearn.decomposition import PCA

    return PCA(width, random_state=SEED)


def kernel_pca(width: int) -> Any:
    """The reference code's kernel PCA."""
    from sklearn.decomposition import KernelPCA

    return KernelPCA(width, kernel="cosine", random_state=SEED)


def gaussian(width: int) -> Any:
    """The reference code's random projection."""
    from sklearn.random_projection import GaussianRandomProjection

    return GaussianRandomProjection(width, random_state=SEED)


def ours(spec: str) -> Callable[[Data], Float32]:
    """A codec of this library, fitted on a sample of the corpus; queries stay float."""

    def run(data: Data) -> Float32:
        codec = attar.codec(spec).fit(data.sample, seed=SEED)
        levels, query = codec.layout.unpack(codec.encode(data.x)), codec.prepare(data.q)
        return query.const[:, None] + (query.coords @ levels.y.T) * levels.factor

    return run


E4M3 = ml_dtypes.float8_e4m3fn
Step = tuple[str, float, Callable[[Data], Float32]]
LADDERS: dict[str, list[Step]] = {
    "float16": [("cast both sides", 16, cast(np.float16)), ("`float16`", 16, ours("float16"))],
    "bfloat16": [
        ("cast both sides", 16, cast(ml_dtypes.bfloat16)),
        ("`bfloat16`", 16, ours("bfloat16")),
    ],
    "float8 e4m3": [
        ("raw cast of both sides", 8, cast(E4M3)),
        ("queries stay float: `float8_e4m3`", 8, ours("float8_e4m3")),
        ("one scale a vector: `float8_e4m3:scaled`", 8, ours("float8_e4m3:scaled")),
        ("one more bit of mantissa: `float8_e3m4`", 8, ours("float8_e3m4")),
    ],
    "float8 e5m2": [
        ("raw cast of both sides", 8, cast(ml_dtypes.float8_e5m2)),
        ("queries stay float: `float8_e5m2`", 8, ours("float8_e5m2")),
    ],
    "float4 e2m1": [
        ("raw cast of both sides", 4, cast(ml_dtypes.float4_e2m1fn)),
        ("one scale a vector, float queries: `float4_e2m1`", 4, ours("float4_e2m1")),
    ],
    "int8": [
        ("codes, ranges from elsewhere, wrapping", 8, uint8("elsewhere", True)),
        ("clipped instead of wrapped", 8, uint8("elsewhere", False)),
        ("ranges from the corpus", 8, uint8("here", False)),
        ("dequantised, rounded, float queries: `int8:minmax`", 8, ours("int8:minmax")),
        ("one scale a vector instead of ranges: `int8`", 8, ours("int8")),
    ],
    "binary": [
        ("0/1 vectors, both sides", 1, both(lambda a: (a > 0).astype(np.float32))),
        ("plus and minus one", 1, both(lambda a: np.where(a > 0, 1, -1).astype(np.float32))),
        ("about the mean, float queries: `binary`", 1, ours("binary")),
        ("one factor a vector: `binary:scaled`", 1, ours("binary:scaled")),
    ],
    "PCA 50 %": [
        ("fitted elsewhere, both sides centred, cosine", 16, project(pca, "elsewhere")),
        ("fitted on the corpus", 16, project(pca, "here")),
        ("documents centred, queries not: `pca50%`", 16, ours("pca50%")),
    ],
    "PCA 50 % + float8": [
        ("fitted elsewhere, centred, cosine, cast", 4, project(pca, "elsewhere", E4M3)),
        ("fitted on the corpus", 4, project(pca, "here", E4M3)),
        ("documents centred, queries not: `pca50%+float8_e4m3`", 4, ours("pca50%+float8_e4m3")),
        ("int8 instead of float8: `pca50%+int8`", 4, ours("pca50%+int8")),
        ("bits where the variance is: `waterfill@8x`", 4, ours("waterfill@8x")),
    ],
    "Kernel PCA 50 %": [
        ("fitted elsewhere, centred, cosine", 16, project(kernel_pca, "elsewhere")),
        ("documents centred, queries not: `kpca50%`", 16, ours("kpca50%")),
    ],
    "Gaussian projection 50 %": [
        ("both sides, cosine", 16, project(gaussian, "elsewhere")),
        ("documents stretched, queries not: `gaussianrp50%`", 16, ours("gaussianrp50%")),
    ],
}
SLOW: dict[str, list[Step]] = {
    "UMAP 50 %": [("`umap50%`", 16, ours("umap50%"))],
    "Autoencoder 50 %": [
        ("hidden layer of 2 d, as wide as it takes: `autoencoder50%`", 16, ours("autoencoder50%"))
    ],
}


def measure(data: Data, ladders: dict[str, list[Step]]) -> Iterator[dict[str, Any]]:
    """One row a step: overlap@10 with exact float32, nDCG@10 and its change with an interval."""
    exact = exact_topk(data.q, data.x, 10, ids=data.ids)
    base = judged(data, exact.ids)
    yield row(data, "float32", "exact", 32, exact.ids, exact.ids, base)
    names = np.array(data.ids, object)
    for method, steps in ladders.items():
        for step, bits, run in steps:
            hits = names[np.argsort(-run(data), axis=1, kind="stable")[:, :10]]
            yield row(data, method, step, bits, hits, exact.ids, base)


def judged(data: Data, hits: Any) -> NDArray[np.float64]:
    """nDCG@10 of every judged query."""
    run = dict(zip(data.query_ids, (list(h) for h in hits), strict=True))
    return evaluate_run(run, data.qrels).values["nDCG@10"]


def row(
    data: Data, method: str, step: str, bits: float, hits: Any, exact: Any, base: Any
) -> dict[str, Any]:
    """What is reported of one step."""
    values = judged(data, hits)
    change = paired_bootstrap(values, base, seed=0, samples=2000)
    return {
        "set": data.name,
        "method": method,
        "step": step,
        "bits/dim": bits,
        "nDCG@10": round(float(values.mean()), 4),
        "change": round(change.mean, 4),
        "low": round(change.low, 4),
        "high": round(change.high, 4),
        "overlap@10": round(float(overlap_at_k(hits, exact).mean()), 4),
    }


def load(folder: Path, collection: str, model: str) -> Data:
    """Read embeddings and judgements of one collection."""
    here, there = (folder / "emb" / name for name in (collection, ELSEWHERE[collection]))
    ids, query_ids = (
        json.loads((here / f"{kind}_ids.json").read_text()) for kind in ("corpus", "query")
    )
    qrels = {k: dict(v) for k, v in read_qrels(folder / "ir" / collection).items()}
    rows = [place for place, name in enumerate(query_ids) if name in qrels]
    x, q, elsewhere = (
        np.load(path / model / f"{kind}.npy").astype(np.float32)
        for path, kind in ((here, "corpus"), (here, "queries"), (there, "queries"))
    )
    names = [query_ids[place] for place in rows]
    judged_only = {name: qrels[name] for name in names}
    return Data(f"{collection} {model}", x, q[rows], elsewhere, ids, names, judged_only)


def load_quick(documents: int = 800, questions: int = 150) -> Data:
    """Embed a part of the SciFact that ships here; training claims play the questions elsewhere."""
    from attar.retrieval.sources import read_queries, read_source

    encoder = attar.encoder("all-MiniLM-L6-v2")
    qrels = {k: dict(v) for k, v in read_qrels(SHIPPED).items()}
    queries = dict(read_queries(SHIPPED))
    names = [name for name in queries if name in qrels][:questions]
    wanted = {document for name in names for document in qrels[name]}
    corpus = list(read_source(SHIPPED))
    judged_first = sorted(corpus, key=lambda document: document.id not in wanted)[:documents]
    others = [text for name, text in queries.items() if name not in names][:400]
    return Data(
        "part of SciFact, minilm",
        np.asarray(encoder.encode_documents([document.text for document in judged_first])),
        np.asarray(encoder.encode_queries([queries[name] for name in names])),
        np.asarray(encoder.encode_queries(others)),
        [document.id for document in judged_first],
        names,
        {name: qrels[name] for name in names},
    )


def write_page() -> None:
    """Fill docs/reproduction.md: the tables come from the JSON, the text around them stays."""
    content = json.loads(RESULT.read_text())
    table = {(r["method"], r["step"], r["set"]): r for r in content["rows"]}
    sets = list(dict.fromkeys(r["set"] for r in content["rows"]))
    steps = list(dict.fromkeys((r["method"], r["step"]) for r in content["rows"]))
    page = PAGE.read_text()
    for name, show in (
        ("overlap", lambda r: f"{r['overlap@10']:.3f}"),
        ("ndcg", lambda r: f"{r['nDCG@10']:.3f}{mark(r)}"),
    ):
        lines = ["| method | step | " + " | ".join(sets) + " |", "|---|---|" + "---|" * len(sets)]
        last = ""
        for method, step in steps:
            cells = [table.get((method, step, each)) for each in sets]
            shown = " | ".join(show(cell) if cell else "" for cell in cells)
            lines.append(f"| {method if method != last else ''} | {step} | {shown} |")
            last = method
        begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        head, _, rest = page.partition(begin)
        page = head + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2]
    PAGE.write_text(page)


def mark(r: dict[str, Any]) -> str:
    """A star where the 95 % interval of the change from float32 leaves zero out."""
    return "" if r["low"] <= 0 <= r["high"] else " *"


def write_result(rows: list[dict[str, Any]]) -> None:
    """The JSON that the page is made of."""
    setup = {
        "fitted on": f"at most {FITTED_ON} documents of the corpus, seed {SEED}",
        "elsewhere": {name: f"queries of {other}" for name, other in ELSEWHERE.items()},
        "interval": "paired bootstrap over judged queries, 2,000 resamples, 95 %",
    }
    content = {"date": time.strftime("%Y-%m-%d"), "setup": setup, "rows": rows}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Measure, print, and write the JSON (not with `--quick`)."""
    parser = argparse.ArgumentParser(description="Reproduce arXiv 2505.00105.")
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTAR_DATA"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--slow", action="store_true", help="UMAP and autoencoder too (minutes)")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    if options.page:
        write_page()
        return
    if not options.quick and options.data is None:
        parser.error("Embeddings must be given: pass --data FOLDER, or --quick for a small run.")
    sets = (
        iter([load_quick()])
        if options.quick
        else (load(options.data, c, m) for c in COLLECTIONS for m in MODELS)
    )
    rows = []
    for data in sets:
        slow = SLOW if options.slow else {}
        for each in measure(data, LADDERS | slow):
            rows.append(each)
            sys.stdout.write(
                f"{each['set']:24}{each['method']:26}{each['step']:54}"
                f"nDCG@10 {each['nDCG@10']:.4f}{mark(each):2} overlap@10 {each['overlap@10']:.4f}\n"
            )
            sys.stdout.flush()
    if not options.quick:
        write_result(rows)


if __name__ == "__main__":
    main()
