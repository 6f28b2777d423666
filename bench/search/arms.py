"""The competitors of a flat search: each answers a batch and knows its bytes and its recall."""

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import attar
from attar.stores import metric as metrics
from attar.stores.cascade.calibration import LADDER
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import approximate, certified
from attar.stores.kernels.exact import exact_top, source
from attar.stores.types import Codes, Float32, Query

BLOCK = 50_000
Answer = Callable[[Float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Arm:
    """One competitor: `answer(queries [m d]) -> rows [m 10]`, bytes per vector, build seconds."""

    name: str
    answer: Answer
    bytes_per_vector: float
    build: float
    recall: float


def overlap(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Mean share of the true rows [m k] that were found."""
    pairs = zip(found, truth, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


def truth_of(docs: Float32, queries: Float32, k: int = 10) -> NDArray[np.int64]:
    """Exact float32 top-k rows [m k]."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(docs), BLOCK):
        scores = queries @ np.asarray(docs[start : start + BLOCK]).T
        some = np.argpartition(-scores, k, axis=1)[:, :k]
        both = np.concatenate([best, np.take_along_axis(scores, some, 1)], axis=1)
        names = np.concatenate([rows, some + start], axis=1)
        order = np.argsort(-both, axis=1)[:, :k]
        best, rows = np.take_along_axis(both, order, 1), np.take_along_axis(names, order, 1)
    return rows


class Attar:
    """A cascade over the codes of one codec."""

    def __init__(self, spec: str, docs: Float32, head: int | None, body: int | None) -> None:
        start = time.process_time()
        self.codec = attar.codec(spec).fit(np.asarray(docs[:20_000]))
        parts = []
        for first in range(0, len(docs), BLOCK):
            x = np.asarray(docs[first : first + BLOCK])
            parts.append(self.codec.encode(metrics.documents(x, "cosine", self.codec.norm)))
        fields = {
            name: np.concatenate([part.fields[name] for part in parts]) for name in parts[0].fields
        }
        del parts
        held = source(self.codec.layout, Codes(fields))
        self.index = Cascade.build(held, gram_of(self.codec), head, body)
        self.build = time.process_time() - start
        self.bytes_per_vector = self.codec.bytes_per_vector + self.index.nbytes / len(docs)

    def prepared(self, queries: Float32) -> Query:
        """Queries for this codec."""
        return metrics.prepared(queries, "cosine", self.codec)

    def own_truth(self, queries: Float32) -> NDArray[np.int64]:
        """Exact top-10 of the codes."""
        return exact_top(self.index.source, self.prepared(queries), 10).rows

    def arm(
        self,
        name: str,
        queries: Float32,
        truth: NDArray[np.int64],
        least: float,
        own: float,
        impl: str = "auto",
    ) -> Arm:
        """The first rung that reaches recall `least` against float32, `own` against the codes."""
        codes = self.own_truth(queries)
        for widths in LADDER:
            rows = approximate(self.index, self.prepared(queries), 10, widths).rows
            recall = overlap(rows, truth)
            if recall >= least and overlap(rows, codes) >= own:
                break

        def answer(q: Float32) -> NDArray[np.int64]:
            return approximate(self.index, self.prepared(q), 10, widths, None, 1, impl).rows

        label = f"{name}, {widths.head}/{widths.body}"
        return Arm(label, answer, self.bytes_per_vector, self.build, recall)

    def exact(self, q: Float32) -> list[Any]:
        """Certified results."""
        from attar.stores.cascade.search import Widths

        return certified(self.index, self.prepared(q), 10, Widths())


def faiss_arm(
    spec: str, docs: Float32, queries: Float32, truth: NDArray[np.int64], wanted: float, size: float
) -> Arm:
    """A faiss index with a refinement; the first k_factor that reaches the wanted recall."""
    import faiss

    faiss.omp_set_num_threads(1)
    start = time.process_time()
    index = faiss.index_factory(docs.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
    index.train(np.asarray(docs[:BLOCK]))
    for first in range(0, len(docs), BLOCK):
        index.add(np.asarray(docs[first : first + BLOCK]))
    build = time.process_time() - start
    for factor in (10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600):
        parameters = faiss.IndexRefineSearchParameters(k_factor=factor)
        recall = overlap(index.search(queries, 10, params=parameters)[1], truth)
        if recall >= wanted:
            break

    def answer(q: Float32) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = index.search(q, 10, params=parameters)[1]
        return rows

    return Arm(f"faiss {spec}, kf {factor}", answer, size, build, recall)


def turbovec_arm(docs: Float32, queries: Float32, truth: NDArray[np.int64], bits: int = 4) -> Arm:
    """Run turbovec at so many bits a dimension; it has no knob."""
    import turbovec

    start = time.process_time()
    index = turbovec.TurboQuantIndex(docs.shape[1], bits)
    for first in range(0, len(docs), BLOCK):
        index.add(np.asarray(docs[first : first + BLOCK]))
    index.prepare()
    build = time.process_time() - start

    def answer(q: Float32) -> NDArray[np.int64]:
        return np.asarray(index.search(q, 10)[1], np.int64)

    recall = overlap(answer(queries), truth)
    return Arm(f"turbovec {bits} bit", answer, docs.shape[1] * bits / 8 + 4, build, recall)


def read_probe(nbytes: int) -> Callable[[], object] | None:
    """Reads that many bytes once from memory; None without a compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    here = Path(__file__).with_name("read.cpp")
    library = Path(tempfile.mkdtemp()) / "read.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(here)], check=True)
    call = ctypes.CDLL(str(library)).read_all
    call.restype = ctypes.c_uint64
    data = np.empty(nbytes // 8, np.uint64)
    data.fill(1)
    return lambda: call(ctypes.c_void_p(data.ctypes.data), ctypes.c_int64(len(data)))
