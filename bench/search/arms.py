"""The competitors of a flat search: each answers a batch and knows its bytes and its recall."""

import ctypes
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import attar
from attar.stores import metric as metrics
from attar.stores.cascade.calibration import LADDER, MARGINS
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import Widths, approximate, certified
from attar.stores.kernels.exact import Source, exact_top, source
from attar.stores.kernels.sketch import SketchCodes
from attar.stores.scan.fast import FIRST
from attar.stores.types import Codes, Float32, Query
from bench.search.prepared import fresh, kept

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


def cheapest(
    index: Cascade,
    query: Query,
    margins: Sequence[float | None],
    enough: Callable[[NDArray[np.int64]], bool],
) -> Widths | None:
    """Of the widths whose rows [m 10] are enough those that take the least CPU time."""
    best: tuple[float, Widths] | None = None
    for margin in margins:
        for rung in LADDER:
            widths = replace(rung, margin=margin)
            start = time.process_time()
            rows = approximate(index, query, 10, widths).rows
            seconds = time.process_time() - start
            if best is not None and seconds > 2 * best[0]:
                break
            if enough(rows):
                if best is None or seconds < best[0]:
                    best = seconds, widths
                break
    return None if best is None else best[1]


class Attar:
    """A cascade over the codes of one codec; codes and sketch are made once per name and fit.

    The name of what is kept has a checksum of the fitted codec: an encoder that changed would not
    understand codes that it did not make.
    """

    def __init__(
        self, spec: str, docs: Float32, name: str, cells: int = 1, head: int | None = None
    ) -> None:
        recipe = attar.codec(spec)
        self.spec, self.codec = spec, recipe.fit(np.asarray(docs[:20_000]))
        safe = f"{spec}_{name}_{zlib.crc32(self.codec.dump()):08x}".replace(":", "-")
        self.name = f"{safe}_{cells}_{head}"
        fields, encoding = kept(f"codes_{safe}", lambda: self._encoded(docs))
        held = source(self.codec.layout, Codes({k: fresh(v) for k, v in fields.items()}))
        parts, building = kept(
            f"sketch_{safe}_{cells}_{head}", lambda: self._sketch(held, cells, head)
        )
        frame, codes, errors, radii, spreads, largest = parts
        order = None if codes.order is None else fresh(codes.order)
        codes = SketchCodes(codes.rows, fresh(codes.head), fresh(codes.body), codes.starts, order)
        self.index = Cascade(held, frame, codes, errors, radii, spreads, largest)
        self.build = encoding + building
        self.bytes_per_vector = self.codec.bytes_per_vector + self.index.nbytes / len(docs)

    def _encoded(self, docs: Float32) -> dict[str, Any]:
        parts = []
        for first in range(0, len(docs), BLOCK):
            x = np.asarray(docs[first : first + BLOCK])
            parts.append(self.codec.encode(metrics.documents(x, "cosine", self.codec.norm)))
        return {
            name: np.concatenate([part.fields[name] for part in parts]) for name in parts[0].fields
        }

    def _sketch(self, held: Source, cells: int, head: int | None) -> tuple[Any, ...]:
        made = Cascade.build(held, gram_of(self.codec), head, cells=cells)
        return made.frame, made.codes, made.errors, made.radii, made.spreads, made.largest

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
        """The cheapest widths that reach recall `least` against float32, `own` against the codes.

        Cheapest by CPU seconds over the queries, as for faiss. Found once per name.
        """
        ladder = zlib.crc32(repr((LADDER, MARGINS, least, own, len(queries))).encode())
        (widths, recall), _ = kept(
            f"widths_{self.name}_{ladder}", lambda: self._widths(queries, truth, least, own)
        )

        def answer(q: Float32) -> NDArray[np.int64]:
            return approximate(self.index, self.prepared(q), 10, widths, None, 1, impl).rows

        cells = len(self.index.frame.cells)
        looked = "" if widths.margin is None else f"{cells} cells, margin {widths.margin}, "
        label = f"{name}, {looked}{widths.head}/{widths.body}"
        return Arm(label, answer, self.bytes_per_vector, self.build, recall)

    def _widths(
        self, queries: Float32, truth: NDArray[np.int64], least: float, own: float
    ) -> tuple[Widths, float]:
        codes = self.own_truth(queries) if own else truth
        asked, cells = self.prepared(queries), len(self.index.frame.cells)

        def enough(rows: NDArray[np.int64]) -> bool:
            return overlap(rows, truth) >= least and overlap(rows, codes) >= own

        widths = cheapest(self.index, asked, (None,) if cells == 1 else (*MARGINS, None), enough)
        if widths is None:
            raise ValueError(f"{self.name} does not reach {least} and {own}.")
        return widths, overlap(approximate(self.index, asked, 10, widths).rows, truth)

    def exact(self, q: Float32) -> list[Any]:
        """Certified results."""
        return certified(self.index, self.prepared(q), 10, FIRST)


def faiss_index(spec: str, docs: Float32, name: str) -> tuple[Any, float]:
    """A faiss index of all documents, made once per name, and its build seconds."""
    import faiss

    def make() -> Any:
        index = faiss.index_factory(docs.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
        index.train(np.asarray(docs[:BLOCK]))
        for first in range(0, len(docs), BLOCK):
            index.add(np.asarray(docs[first : first + BLOCK]))
        return faiss.serialize_index(index)

    faiss.omp_set_num_threads(1)
    content, build = kept(f"faiss_{spec}_{name}".replace("(", "-").replace(")", ""), make)
    return faiss.deserialize_index(content), build


def faiss_ivf_arm(
    spec: str,
    docs: Float32,
    name: str,
    queries: Float32,
    truth: NDArray[np.int64],
    wanted: float,
    size: float,
) -> Arm:
    """An inverted file of faiss with or without a refinement, at its cheapest setting.

    Of all nprobe and k_factor that reach the wanted recall the fastest over the queries, measured.
    """
    import faiss

    index, build = faiss_index(spec, docs, name)

    def parameters(probes: int, factor: int) -> tuple[Any, Any]:
        inner = faiss.SearchParametersIVF(nprobe=probes)
        if "Refine" not in spec:
            return inner, inner
        outer = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)
        return outer, inner

    def cheapest() -> tuple[int, int, float]:
        best: tuple[float, int, int, float] | None = None
        for probes in (16, 24, 32, 48, 64, 96, 128, 192, 256, 512):
            for factor in (4, 8, 16, 32, 64) if "Refine" in spec else (1,):
                some, kept_alive = parameters(probes, factor)
                start = time.process_time()
                rows = index.search(queries, 10, params=some)[1]
                seconds = time.process_time() - start
                del kept_alive
                recall = overlap(rows, truth)
                if recall >= wanted and (best is None or seconds < best[0]):
                    best = seconds, probes, factor, recall
                if recall >= wanted:
                    break
        if best is None:
            raise ValueError(f"faiss {spec} does not reach {wanted}.")
        return best[1:]

    (probes, factor, recall), _ = kept(f"faiss_at_{spec}_{name}_{wanted}", cheapest)
    some, inner = parameters(probes, factor)
    label = f"np {probes} kf {factor}"

    def answer(q: Float32) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = index.search(q, 10, params=some)[1]
        return rows

    answer.kept = inner  # type: ignore[attr-defined] # faiss holds bare pointers
    return Arm(f"faiss {spec}, {label}", answer, size, build, recall)


def faiss_arm(
    spec: str,
    docs: Float32,
    name: str,
    queries: Float32,
    truth: NDArray[np.int64],
    wanted: float,
    size: float,
) -> Arm:
    """A faiss index with a refinement; the first k_factor that reaches the wanted recall."""
    import faiss

    index, build = faiss_index(spec, docs, name)

    def first() -> tuple[int, float]:
        for factor in (10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1000):
            some = faiss.IndexRefineSearchParameters(k_factor=factor)
            recall = overlap(index.search(queries, 10, params=some)[1], truth)
            if recall >= wanted:
                return factor, recall
        raise ValueError(f"faiss {spec} does not reach {wanted}.")

    (factor, recall), _ = kept(f"faiss_at_{spec}_{name}_{wanted}", first)
    parameters = faiss.IndexRefineSearchParameters(k_factor=factor)

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
