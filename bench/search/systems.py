"""Other libraries behind one call: `search(queries [m 768], setting, threads) -> rows [m 10]`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import approximate
from attar.stores.graph.index import GraphIndex
from attar.stores.graph.search import walked
from attar.stores.graph.windows import LADDER as LADDER_OF_POOLS
from attar.stores.kernels.walk import Graph
from attar.stores.types import Float32
from bench.search.arms import LADDER, Attar
from bench.search.building import FAISS, PANORAMA, built
from bench.search.prepared import fresh, kept

Rows = NDArray[np.int64]
Search = Callable[[Float32, Any, int], Rows]
K = 10


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
    import faiss

    folder, facts = built(name, n, seed)
    index = faiss.read_index(str(folder / "index"))
    factors = (2, 4, 8, 16, 30, 60, 120)
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
    index = Index.restore(str(folder / "index"))
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

    settings = [(leaves, kept) for leaves in (25, 50, 100, 200, 400) for kept in (100, 200)]
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


def turbovec_system(docs: Float32, bits: int = 4) -> System:
    """Turbovec; it has no knob and takes its threads from the environment."""
    import turbovec

    index = turbovec.TurboQuantIndex(docs.shape[1], bits)
    for first in range(0, len(docs), 50_000):
        index.add(np.asarray(docs[first : first + 50_000]))
    index.prepare()

    def search(q: Float32, setting: Any, threads: int) -> Rows:
        return np.asarray(index.search(q, K)[1], np.int64)

    return System(f"turbovec {bits} bit", search, (None,), docs.shape[1] * bits / 8 + 4)


def attar_system(spec: str, docs: Float32, name: str, cells: int) -> System:
    """Attar's cascade, flat or in cells."""
    ours = Attar(spec, docs, name, cells)
    shares = [None] if cells == 1 else [cells // part for part in (64, 32, 16, 8, 4, 2)]
    rungs = LADDER[:8] if cells == 1 else LADDER[1:6:2]
    settings = [type(rung)(rung.head, rung.body, share) for share in shares for rung in rungs]

    def search(q: Float32, setting: Any, threads: int) -> Rows:
        return approximate(ours.index, ours.prepared(q), K, setting, None, threads).rows

    label = f"attar {spec}" + ("" if cells == 1 else f", {cells} cells")
    facts = {"build CPU s": round(ours.build, 1)}
    return System(label, search, settings, ours.bytes_per_vector, facts)


def graph_system(spec: str, docs: Float32, name: str, links: int = 64) -> System:
    """Attar's graph over the same codes."""
    ours = Attar(spec, docs, name, 1)
    held = ours.index.source

    def make() -> Any:
        made = GraphIndex.build(held, gram_of(ours.codec), links)
        return made.leading, made.graph

    (leading, graph), seconds = kept(f"graph_{ours.name}_{links}", make)
    graph = Graph(*(fresh(part) for part in (graph.codes, graph.links, graph.entries)))
    index = GraphIndex(held, leading, graph)

    def search(q: Float32, setting: int, threads: int) -> Rows:
        found = walked(index, ours.prepared(q), K, setting, threads=threads)
        if found is None:
            raise ValueError(f"A walk of {setting} rows met fewer than {K}.")
        return found.rows

    ram = ours.codec.bytes_per_vector + index.nbytes / len(docs)
    facts = {"build CPU s": round(seconds, 1)}
    return System(f"attar {spec}, graph", search, LADDER_OF_POOLS, ram, facts)


RAM = {
    "faiss SQ8": 768,
    "faiss PCA128,PQ128x4fs,Refine(SQ8)": 832,
    "faiss RaBitQfs,Refine(SQ8)": 872,
    "faiss IVF1024,RaBitQfs,Refine(SQ8)": 880,
    "faiss HNSW32_SQ8": 1036,
    PANORAMA: 3108,
}


def systems(docs: Float32, n: int, seed: int) -> list[System]:
    """All that can be had here; a library that is not installed is left out."""
    name = f"{n}_{seed}"
    found = [attar_system("int8", docs, name, 1), attar_system("int8", docs, name, 1024)]
    found.append(attar_system("waterfill@328B", docs, name, 1024))
    found.append(graph_system("int8", docs, name))
    found += [faiss_system(spec, n, seed, RAM[spec]) for spec in (*FAISS, PANORAMA)]
    makers: list[Callable[[], System]] = [
        lambda: turbovec_system(docs),
        lambda: usearch_system(n, seed),
        lambda: scann_system(n, seed),
        lambda: svs_system(n, seed),
    ]
    for make in makers:
        try:
            found.append(make())
        except ImportError:
            continue
    return found
