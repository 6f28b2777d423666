"""`attar shrink` on a Chroma folder of judged passages: bytes and nDCG@10 before and after."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.retrieval.evaluation import evaluate_run
from attar.retrieval.interchange import open_collection, shrink
from attar.retrieval.sources import read_qrels, read_source
from bench.machine import DATA
from bench.registry import Result, bench

COLLECTIONS = ("scifact", "cranfield", "squad")
CODECS = ("waterfill@16x", "waterfill@24x", "waterfill@32x")
MODEL = "minilm"


def make_chroma(path: Path) -> int:
    """Passages of all collections with the vectors of MiniLM, in one Chroma collection."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    held = client.create_collection(
        "passages", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    count = 0
    for name in COLLECTIONS:
        folder = DATA / "emb" / name
        ids = json.loads((folder / "corpus_ids.json").read_text())
        vectors = np.load(folder / MODEL / "corpus.npy")
        texts = {d.id: d.text for d in read_source(DATA / "ir" / name)}
        for start in range(0, len(ids), 1000):
            some = ids[start : start + 1000]
            held.add(
                ids=[f"{name}/{one}" for one in some],
                embeddings=vectors[start : start + 1000],
                documents=[texts[one] for one in some],
                metadatas=[{"collection": name}] * len(some),
            )
        count += len(ids)
    return count


def ndcg(search: Any, name: str) -> float:
    """nDCG@10 of a collection's judged queries, among the passages of all collections."""
    folder = DATA / "emb" / name
    queries = json.loads((folder / "query_ids.json").read_text())
    vectors = np.load(folder / MODEL / "queries.npy")
    qrels = read_qrels(DATA / "ir" / name)
    run = {
        q: [one.partition("/")[2] for one in search(x) if one.startswith(f"{name}/")]
        for q, x in zip(queries, vectors, strict=True)
        if q in qrels
    }
    return float(evaluate_run(run, qrels).means()["nDCG@10"])


@bench("ecosystem/shrink", gate="tests/retrieval/interchange")
def shrink_chroma(quick: bool) -> Result:
    """A folder of Chroma through `shrink` at several rates, judged on its collections."""
    import chromadb
    from chromadb.config import Settings

    judged = COLLECTIONS[:1] if quick else COLLECTIONS[:2]
    codecs = CODECS[1:2] if quick else CODECS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chroma"
        count = make_chroma(path)
        client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
        held = client.get_collection("passages", embedding_function=None)

        def ask_chroma(x: np.ndarray) -> list[str]:
            found: list[str] = held.query(query_embeddings=x[None], n_results=10)["ids"][0]
            return found

        before = {name: ndcg(ask_chroma, name) for name in judged}
        rows: list[dict[str, Any]] = [
            {"store": "Chroma", **{f"nDCG@10 {n}": v for n, v in before.items()}}
        ]
        worst: dict[str, dict[str, float]] = {}
        for codec in codecs:
            out = Path(folder) / codec
            done = shrink(open_collection(path), out, codec)
            with attar.open(out) as store:

                def ask(x: np.ndarray, store: Any = store) -> list[str]:
                    return list(store.search(x, 10).ids[0])

                after = {name: ndcg(ask, name) for name in judged}
            worst[codec] = {
                "vectors": done.vectors_smaller or 0.0,
                "folder": done.smaller or 0.0,
                "kept": min(after[n] / before[n] for n in judged),
            }
            rows.append(
                {
                    "store": codec,
                    **{f"nDCG@10 {n}": v for n, v in after.items()},
                    "vectors and index, x smaller": done.vectors_smaller,
                    "folder, x smaller": done.smaller,
                    "overlap@10": done.overlap,
                    "store MB": done.store_bytes / 1e6,
                }
            )
    at = worst["waterfill@24x"]
    return Result(
        rows,
        {
            "passages": count,
            "model": MODEL,
            "note": "50,000 passages are asked for; these are the judged ones",
        },
        {
            "vectors and index": {
                "bar": "25x smaller at the default codec",
                "measured": round(at["vectors"], 2),
                "met": at["vectors"] >= 25,
            },
            "whole folder": {
                "bar": "8x smaller, texts compressed",
                "measured": round(at["folder"], 2),
                "met": at["folder"] >= 8,
            },
            "nDCG@10": {
                "bar": "at least .99 of Chroma's on every collection",
                "measured": round(at["kept"], 4),
                "met": at["kept"] >= 0.99,
            },
        },
    )
