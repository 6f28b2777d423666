"""Encoding at 768 dimensions on one core: faiss' quantisers with and without a rotation."""

from collections.abc import Callable

import numpy as np

import attar
from bench.machine import interleaved
from bench.registry import Result, bench

DIM = 768


def documents(n: int, seed: int) -> np.ndarray:
    """Unit vectors with a spectrum that falls as those of text encoders do, [n 768]."""
    draw = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0]
    x = (draw.normal(size=(n, DIM)) * np.arange(1, DIM + 1) ** -0.6) @ basis
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@bench("codecs/waterfill_speed", gate="tests/retrieval/waterfill")
def speed(quick: bool) -> Result:
    """CPU seconds, arms in turn; one thread for every arm (OMP_NUM_THREADS=1)."""
    import faiss

    faiss.omp_set_num_threads(1)
    x = documents(2048 if quick else 8192, 0)
    train = documents(2048, 1)
    arms: dict[str, Callable[[], object]] = {}
    for name in ("QT_8bit", "QT_4bit"):
        bare = faiss.ScalarQuantizer(DIM, getattr(faiss.ScalarQuantizer, name))
        bare.train(train)
        arms[f"faiss {name}"] = lambda bare=bare: bare.compute_codes(x)
    for name in ("PCAR768,SQ4", "OPQ96_768,PQ96x8"):
        index = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
        if name.startswith("OPQ"):
            faiss.downcast_VectorTransform(index.chain.at(0)).niter = 2
        index.train(train)
        arms[f"faiss {name}"] = lambda index=index: index.sa_encode(x)
    for spec in ("rabitq4", "turboquant4", "waterfill@8x", "waterfill@16x", "waterfill@32x"):
        codec = attar.codec(spec).fit(train)
        arms[spec] = lambda codec=codec: codec.encode(x)
    matrix = np.linalg.qr(train[:DIM].T)[0].astype(np.float32)
    arms["the rotation alone"] = lambda: x @ matrix
    times = interleaved(arms, rounds=3 if quick else 7)
    rows = [
        {"arm": name, "vectors/s": round(len(x) / t["median"]), "best": round(len(x) / t["min"])}
        for name, t in times.items()
    ]
    rate = {row["arm"]: row["vectors/s"] for row in rows}
    text = "at least half of faiss' ScalarQuantizer on the same cores"
    ours = rate["waterfill@8x"]
    bars = {
        "encode": {
            "bar": text,
            "measured": round(ours / rate["faiss QT_4bit"], 3),
            "met": ours >= rate["faiss QT_4bit"] / 2,
        },
        "encode, both with a rotation": {
            "bar": text + " after the same rotation (PCAR768,SQ4)",
            "measured": round(ours / rate["faiss PCAR768,SQ4"], 3),
            "met": ours >= rate["faiss PCAR768,SQ4"] / 2,
        },
    }
    return Result(rows, {"n": len(x), "d": DIM, "threads": 1, "clock": "CPU"}, bars)
