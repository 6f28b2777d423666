"""`attar shrink` on a Chroma folder of 50,000 passages: bytes, and nDCG@10 before and after."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.retrieval.evaluation import evaluate_run
from attar.retrieval.interchange import open_collection, shrink
from attar.stores.store import Store
from bench.ecosystem.passages import CACHE, COLLECTIONS, COUNT, passages, questions
from bench.registry import Result, bench

CODECS = ("waterfill@16x", "waterfill@24x", "waterfill@26x", "pca192+waterfill@24x")
DEFAULT = "waterfill@24x"
Ask = Callable[[np.ndarray], list[list[str]]]


def chroma(path: Path, count: int) -> Any:
    """The collection with that many passages; made once, since its graph takes minutes."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    held = client.get_or_create_collection(
        "passages", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    if held.count() < count:
        made = passages(count)
        for start in range(held.count(), count, 1000):
            rows = slice(start, min(start + 1000, count))
            ids = made.ids[rows]
            held.add(
                ids=ids,
                embeddings=made.vectors[rows],
                documents=made.texts[rows],
                metadatas=[{"collection": name.partition("/")[0]} for name in ids],
            )
    return held


def ndcg(ask: Ask, names: tuple[str, ...]) -> dict[str, float]:
    """nDCG@10 of each collection's judged queries, among the passages of all of them."""
    values = {}
    for name in names:
        asked = questions(name)
        found = ask(asked.vectors)
        run = {
            q: [one.partition("/")[2] for one in row if one.startswith(f"{name}/")]
            for q, row in zip(asked.ids, found, strict=True)
        }
        values[name] = float(evaluate_run(run, asked.qrels).means()["nDCG@10"])
    return values


def words_cost(out: Path) -> int:
    """Bytes that the full-text index adds to a store."""

    def size(folder: Path) -> int:
        return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "store"
        shutil.copytree(out, copy)
        before = size(copy)
        with attar.open(copy, "w") as store:
            store.index_texts()
        return size(copy) - before


@bench("ecosystem/shrink", gate="tests/retrieval/interchange")
def shrink_chroma(quick: bool) -> Result:
    """A folder of Chroma through `shrink` at several rates, judged on its collections."""
    count = 5_000 if quick else COUNT
    judged = COLLECTIONS[:1] if quick else COLLECTIONS
    codecs = (DEFAULT,) if quick else CODECS
    path = CACHE / f"chroma-{count}"
    held = chroma(path, count)

    def ask_chroma(x: np.ndarray) -> list[list[str]]:
        return [
            row
            for start in range(0, len(x), 100)
            for row in held.query(query_embeddings=x[start : start + 100], n_results=10)["ids"]
        ]

    before = ndcg(ask_chroma, judged)
    rows: list[dict[str, Any]] = [_row("Chroma", before, before)]
    worst: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for codec in codecs:
            out = Path(folder) / codec
            done = shrink(open_collection(path), out, codec)
            with attar.open(out) as store:
                after = ndcg(_asked(store), judged)
            row = _row(codec, after, before)
            row |= {
                "vectors and index MB": done.vector_bytes / 1e6,
                "vectors and index smaller": done.vectors_smaller,
                "folder MB": done.store_bytes / 1e6,
                "folder smaller": done.smaller,
                "overlap@10": done.overlap,
            }
            rows.append(row)
            worst[codec] = row
            if codec == DEFAULT:
                words = words_cost(out)
    rows[0] |= {
        "vectors and index MB": (done.source_vector_bytes or 0) / 1e6,
        "vectors and index smaller": 1.0,
        "folder MB": (done.source_bytes or 0) / 1e6,
        "folder smaller": 1.0,
        "overlap@10": None,
    }
    return Result(
        rows,
        {
            "passages": count,
            "judged": list(judged),
            "model": "all-MiniLM-L6-v2",
            "data": "six judged collections whole, WikiText-2 and books in passages of 40 words",
            "texts": "zstd with a trained dictionary, full-text index off",
            "full-text index": f"{words / 1e6:.1f} MB more",
        },
        _bars(worst),
    )


def _asked(store: Store) -> Ask:
    def ask(x: np.ndarray) -> list[list[str]]:
        return [
            list(row)
            for start in range(0, len(x), 256)
            for row in store.search(x[start : start + 256], 10).ids
        ]

    return ask


def _row(name: str, values: dict[str, float], before: dict[str, float]) -> dict[str, Any]:
    kept = [values[one] / before[one] for one in values]
    return {
        "store": name,
        "nDCG@10 mean": float(np.mean(list(values.values()))),
        "kept of it": float(np.mean(list(values.values())) / np.mean(list(before.values()))),
        "kept, worst collection": float(min(kept)),
        **{f"nDCG@10 {one}": value for one, value in values.items()},
    }


def _bars(worst: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Every bar at one codec: the one that meets most of them, the default where they tie."""

    def met(row: dict[str, float]) -> list[bool]:
        return [
            row["vectors and index smaller"] >= 25,
            row["folder smaller"] >= 8,
            row["kept of it"] >= 0.99,
        ]

    best = max(worst, key=lambda codec: (sum(met(worst[codec])), codec == DEFAULT))
    row = worst[best]
    texts = (
        ("vectors and index", "25x smaller", "vectors and index smaller"),
        ("whole folder", "8x smaller, texts compressed, full-text off", "folder smaller"),
        ("nDCG@10", "at least .99 of Chroma's, mean of the collections", "kept of it"),
    )
    return {
        name: {"bar": f"{bar} ({best})", "measured": round(row[key], 4), "met": good}
        for (name, bar, key), good in zip(texts, met(row), strict=True)
    }
