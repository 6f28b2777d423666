"""Attar and other libraries behind one call: `search(queries [m 768], setting, threads) -> [m 10]`.

`opened(name, n, seed)` reads an index from its folder, where `building` put it.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.codec import FittedCodec
from attar.stores import metric as metrics
from attar.stores.cascade.calibration import LADDER
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.search import approximate
from attar.stores.graph.index import GraphIndex
from attar.stores.graph.search import walked
from attar.stores.graph.windows import LADDER as LADDER_OF_POOLS
from attar.stores.kernels.exact import source
from attar.stores.kernels.sketch import SketchCodes
from attar.stores.kernels.walk import Graph
from attar.stores.types import Codes, Float32
from bench.search.building import ATTAR, PANORAMA, built
from bench.search.prepared import fresh

Rows = NDArray[np.int64]
Search = Callable[[Float32, Any, int], Rows]
K = 10
MARGINS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, None)
POOLS = (*LADDER_OF_POOLS, 768, 1024, 1536, 2048, 3072)


@dataclass(frozen=True)
class System:
    """A searcher and what it can be set to, from cheap to dear."""

    name: str
    search: Search
    settings: Sequence[Any]
    ram: float
    facts: dict[str, Any] = field(default_factory=dict)


def faiss_system(name: str, n: int, seed: int, ram: float) -> System:
    """A faiss index from its file."""
    faiss: Any = import_module("faiss")  # its stubs lack parameters
    folder, facts = built(name, n, seed)
    index = faiss.read_index(str(folder / "index"))
    factors = (2, 4, 8, 16, 30, 60, 120, 240)
    settings: Sequence[Any] = (None,)
    if name.startswith("faiss IVF"):
        settings = [(p, f) for p in (8, 16, 32, 64, 128, 256) for f in (4, 16, 64)]
    elif "Refine" in name:
        settings = factors
    elif "HNSW" in name:
        settings = (16, 32, 48, 64, 96, 128, 192, 256)

    def parameters(setting: Any) -> tuple[Any, Any]:
        if isinstance(setting, tuple):
            inner = faiss.SearchParametersIVF(nprobe=setting[0])
            outer = faiss.IndexRefineSearchParameters(k_factor=setting[1], base_index_params=inner)
            return outer, inner
        if "Refine" in name:
            return faiss.IndexRefineSearchParameters(k_factor=setting), None
        if "HNSW" in name:
            return faiss.SearchParametersHNSW(efSearch=setting), None
        return None, None

    def search(q: Float32, setting: Any, threads: int) -> Rows:
        faiss.omp_set_num_threads(threads)
        some, kept = parameters(setting)
        rows: Rows = index.search(q, K, params=some)[1]
        del kept
        return rows

    return System(name, search, settings, ram, facts)


def usearch_system(n: int, seed: int) -> System:
    """Search HNSW of usearch."""
    from usearch.index import Index

    name = "usearch HNSW i8"
    folder, facts = built(name, n, seed)
    index: Any = Index.restore(str(folder / "index"))
    if index is None:
        raise ValueError(f"{folder} holds no index of usearch.")

    def search(q: Float32, setting: int, threads: int) -> Rows:
        index.expansion_search = setting
        return np.asarray(index.search(q, K, threads=threads).keys, np.int64).reshape(len(q), K)

    return System(name, search, (16, 32, 64, 96, 128, 256, 512), facts["bytes"] / n, facts)


def scann_system(n: int, seed: int) -> System:
    """Search ScaNN's tree."""
    import scann

    name = "ScaNN tree AH2"
    folder, facts = built(name, n, seed)
    searcher = scann.scann_ops_pybind.load_searcher(str(folder))

    def search(q: Float32, setting: tuple[int, int], threads: int) -> Rows:
        leaves, kept = setting
        call = searcher.search_batched if threads == 1 else searcher.search_batched_parallel
        found, _ = call(q, K, pre_reorder_num_neighbors=kept, leaves_to_search=leaves)
        return np.asarray(found, np.int64)

    settings = [
        (leaves, kept) for leaves in (50, 100, 200, 400, 600, 800, 1200) for kept in (100, 400)
    ]
    return System(name, search, settings, facts["bytes"] / n, facts)


def svs_system(n: int, seed: int) -> System:
    """Search Vamana over LeanVec."""
    import svs

    name = "SVS Vamana LeanVec192"
    folder, facts = built(name, n, seed)
    loader = svs.LeanVecLoader(str(folder / "vectors"))
    index = svs.Vamana(
        str(folder / "config"),
        svs.GraphLoader(str(folder / "graph")),
        loader,
        svs.DistanceType.MIP,
        num_threads=1,
    )

    def search(q: Float32, setting: int, threads: int) -> Rows:
        index.num_threads = threads
        index.search_window_size = setting
        return np.asarray(index.search(q, K)[0], np.int64)

    return System(
        name,
        search,
        (10, 20, 30, 40, 50, 60, 70, 80, 100, 120, 160, 240),
        facts["bytes"] / n,
        facts,
    )


def turbovec_system(n: int, seed: int) -> System:
    """Turbovec; it has no knob and takes its threads from the environment."""
    import turbovec

    name = "turbovec 4 bit"
    folder, facts = built(name, n, seed)
    index = turbovec.TurboQuantIndex.load(str(folder / "index"))
    index.prepare()

    def search(q: Float32, setting: Any, threads: int) -> Rows:
        return np.asarray(index.search(q, K)[1], np.int64)

    return System(name, search, (None,), facts["bytes"] / n, facts)


def read_own(folder: Path) -> tuple[FittedCodec, Any, Any]:
    """The codec of an index of attar, its codes and what was made of them."""
    with (folder / "index").open("rb") as file:
        dump, fields, parts = pickle.load(file)
    codec = FittedCodec.load(dump)
    return codec, source(codec.layout, Codes({k: fresh(v) for k, v in fields.items()})), parts


def cascade_system(name: str, n: int, seed: int) -> System:
    """Attar's cascade, flat or in cells."""
    folder, facts = built(name, n, seed)
    codec, held, (frame, codes, *rest) = read_own(folder)
    order = None if codes.order is None else fresh(codes.order)
    codes = SketchCodes(codes.rows, fresh(codes.head), fresh(codes.body), codes.starts, order)
    index = Cascade(held, frame, codes, *rest)
    settings = list(LADDER[:11])
    if ATTAR[name].cells > 1:
        settings = [replace(rung, margin=m) for m in MARGINS for rung in LADDER[1:11:2]]

    def search(q: Float32, setting: Any, threads: int) -> Rows:
        asked = metrics.prepared(q, "cosine", codec)
        return approximate(index, asked, K, setting, None, threads).rows

    return System(name, search, settings, codec.bytes_per_vector + index.nbytes / n, facts)


def graph_system(name: str, n: int, seed: int) -> System:
    """Attar's graph over its codes."""
    folder, facts = built(name, n, seed)
    codec, held, (leading, graph) = read_own(folder)
    graph = Graph(*(fresh(part) for part in (graph.codes, graph.links, graph.entries)))
    index = GraphIndex(held, leading, graph)

    def search(q: Float32, setting: int, threads: int) -> Rows:
        asked = metrics.prepared(q, "cosine", codec)
        found = walked(index, asked, K, setting, threads=threads)
        if found is None:
            raise ValueError(f"A walk of {setting} rows met fewer than {K}.")
        return found.rows

    return System(name, search, POOLS, codec.bytes_per_vector + index.nbytes / n, facts)


RAM = {
    "faiss SQ8": 768,
    "faiss PCA128,PQ128x4fs,Refine(SQ8)": 832,
    "faiss RaBitQfs,Refine(SQ8)": 872,
    "faiss IVF1024,RaBitQfs,Refine(SQ8)": 880,
    "faiss HNSW32_SQ8": 1036,
    PANORAMA: 3108,
}

OTHERS: dict[str, tuple[str, Callable[[int, int], System]]] = {
    "turbovec 4 bit": ("turbovec", turbovec_system),
    "usearch HNSW i8": ("usearch", usearch_system),
    "ScaNN tree AH2": ("scann", scann_system),
    "SVS Vamana LeanVec192": ("svs", svs_system),
}


def names() -> list[str]:
    """All that can be had here; a library that is not installed is left out."""
    here = [name for name, (module, _) in OTHERS.items() if find_spec(module)]
    return [*ATTAR, *(RAM if find_spec("faiss") else ()), *here]


def opened(name: str, n: int, seed: int) -> System:
    """A system from its folder; built when it was not."""
    if name in OTHERS:
        return OTHERS[name][1](n, seed)
    if name not in ATTAR:
        return faiss_system(name, n, seed, RAM[name])
    return (graph_system if ATTAR[name].links else cascade_system)(name, n, seed)
