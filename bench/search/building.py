"""Indexes of attar and of other libraries, each built in a process of its own.

CPU seconds, peak memory, files. What takes the documents in blocks reads them from their file:
mapped pages would count as memory of the build.

python -m bench.search.building NAME N SEED
"""

import json
import pickle
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import attar
from attar.stores import metric as metrics
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.graph.index import GraphIndex
from attar.stores.kernels.exact import source
from attar.stores.types import Codes, Float32
from bench.machine import commit, memory_of
from bench.search.generator import documents
from bench.search.prepared import FOLDER

BLOCK = 50_000
FAISS = {
    "faiss SQ8": "SQ8",
    "faiss PCA128,PQ128x4fs,Refine(SQ8)": "PCA128,PQ128x4fs,Refine(SQ8)",
    "faiss RaBitQfs,Refine(SQ8)": "RaBitQfs,Refine(SQ8)",
    "faiss IVF1024,RaBitQfs,Refine(SQ8)": "IVF1024,RaBitQfs,Refine(SQ8)",
    "faiss HNSW32_SQ8": "HNSW32_SQ8",
}
PANORAMA = "faiss FlatPanorama"
TRAINED = 20_000
FEW = 2_048


@dataclass(frozen=True)
class Own:
    """An index of attar: a cascade in so many cells, or a graph of so many links."""

    spec: str
    cells: int = 1
    links: int = 0


ATTAR = {
    "attar int8": Own("int8"),
    "attar int8, 1024 cells": Own("int8", 1024),
    "attar waterfill@328B, 1024 cells": Own("waterfill@328B", 1024),
    "attar int8, graph": Own("int8", links=64),
}


def block(docs: Float32, first: int, count: int = BLOCK) -> Float32:
    """Rows of the documents' file, read; not mapped."""
    if not isinstance(docs, np.memmap):
        return np.asarray(docs[first : first + count])
    rows, width = min(count, len(docs) - first), docs.shape[1]
    start = docs.offset + first * width * docs.itemsize
    read = np.fromfile(str(docs.filename), np.float32, rows * width, offset=start)
    return read.reshape(rows, width)


def build_attar(own: Own) -> Callable[[Float32, Path], None]:
    """Fit on the first rows, encode in blocks, sketch or link the codes."""

    def build(docs: Float32, folder: Path) -> None:
        codec = attar.codec(own.spec).fit(block(docs, 0, TRAINED))
        fields: dict[str, Any] = {}
        for first in range(0, len(docs), BLOCK):
            x = metrics.documents(block(docs, first), "cosine", codec.norm)
            for name, part in codec.encode(x).fields.items():
                if not first:
                    fields[name] = np.empty((len(docs), *part.shape[1:]), part.dtype)
                fields[name][first : first + len(part)] = part
        held, gram = source(codec.layout, Codes(fields)), gram_of(codec)
        parts: tuple[Any, ...]
        if own.links:
            graph = GraphIndex.build(held, gram, own.links)
            parts = graph.leading, graph.graph
        else:
            made = Cascade.build(held, gram, cells=own.cells)
            parts = made.frame, made.codes, made.errors, made.radii, made.spreads, made.largest
        with (folder / "index").open("wb") as file:
            pickle.dump((codec.dump(), fields, parts), file, protocol=5)

    return build


def build_faiss(spec: str) -> Callable[[Float32, Path], None]:
    """Train on a block, add in blocks."""

    def build(docs: Float32, folder: Path) -> None:
        faiss: Any = import_module("faiss")  # its stubs know one kind of index a name
        faiss.omp_set_num_threads(1)
        if spec == PANORAMA:
            index = faiss.IndexFlatIPPanorama(docs.shape[1], 8)
        else:
            index = faiss.index_factory(docs.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
        index.train(block(docs, 0))
        for first in range(0, len(docs), BLOCK):
            index.add(block(docs, first))
        faiss.write_index(index, str(folder / "index"))

    return build


def build_usearch(docs: Float32, folder: Path) -> None:
    """HNSW over int8, the library's defaults otherwise."""
    from usearch.index import Index

    index = Index(ndim=docs.shape[1], metric="ip", dtype="i8", connectivity=32, expansion_add=128)
    for first in range(0, len(docs), BLOCK):
        part = block(docs, first)
        index.add(np.arange(first, first + len(part)), part, threads=1)
    index.save(str(folder / "index"))


def build_turbovec(docs: Float32, folder: Path) -> None:
    """Four bits a dimension."""
    import turbovec

    index = turbovec.TurboQuantIndex(docs.shape[1], 4)
    for first in range(0, len(docs), BLOCK):
        index.add(block(docs, first))
    index.prepare()
    index.write(str(folder / "index"))


def build_scann(docs: Float32, folder: Path) -> None:
    """Tree, anisotropic hashing of two dimensions a code, reordering by int8."""
    import scann

    leaves = 2 * int(len(docs) ** 0.5)
    builder = scann.scann_ops_pybind.builder(np.asarray(docs), 10, "dot_product")
    builder = builder.tree(leaves, leaves // 10, training_sample_size=BLOCK)
    builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
    searcher = builder.reorder(200, quantize=True).set_n_training_threads(1).build()
    searcher.serialize(str(folder))


def build_svs(docs: Float32, folder: Path) -> None:
    """Vamana over LeanVec of 192 dimensions, LVQ8 for both stages."""
    import svs

    data, plain = folder / "data.svs", folder / "data.fvecs"
    svs.write_vecs(np.asarray(docs), str(plain))
    svs.convert_vecs_to_svs(str(plain), str(data), dtype=svs.DataType.float32)
    plain.unlink()
    loader = svs.LeanVecLoader(
        svs.VectorDataLoader(str(data), svs.DataType.float32, dims=docs.shape[1]),
        leanvec_dims=192,
        primary_kind=svs.LeanVecKind.lvq8,
        secondary_kind=svs.LeanVecKind.lvq8,
    )
    parameters = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=64, window_size=128)
    index = svs.Vamana.build(parameters, loader, svs.DistanceType.MIP, num_threads=1)
    index.save(str(folder / "config"), str(folder / "graph"), str(folder / "vectors"))
    data.unlink()


BUILDERS: dict[str, Callable[[Float32, Path], None]] = {
    **{name: build_attar(own) for name, own in ATTAR.items()},
    **{name: build_faiss(spec) for name, spec in FAISS.items()},
    PANORAMA: build_faiss(PANORAMA),
    "turbovec 4 bit": build_turbovec,
    "usearch HNSW i8": build_usearch,
    "ScaNN tree AH2": build_scann,
    "SVS Vamana LeanVec192": build_svs,
}


@cache
def fingerprint(name: str, n: int, seed: int) -> int:
    """A checksum of what today's code makes of a few documents: another code, another folder."""
    few = block(documents(n, FOLDER, seed), 0, FEW)
    with tempfile.TemporaryDirectory() as folder:
        BUILDERS[name](few, Path(folder))
        return zlib.crc32((Path(folder) / "index").read_bytes())


def folder_of(name: str, n: int, seed: int) -> Path:
    """Where an index lies."""
    safe = "".join(c if c.isalnum() else "-" for c in name)
    if name in ATTAR:
        safe += f"_{fingerprint(name, n, seed):08x}"
    return FOLDER / f"peer_{safe}_{n}_{seed}"


def built(name: str, n: int, seed: int) -> tuple[Path, dict[str, Any]]:
    """The folder of an index, built when it was not, and what building took."""
    folder = folder_of(name, n, seed)
    facts = folder / "facts.json"
    if not facts.exists():
        command = [sys.executable, "-m", "bench.search.building", name, str(n), str(seed)]
        subprocess.run(command, check=True)
    return folder, json.loads(facts.read_text())


def peak_mb() -> int:
    """The most that this process had in memory; getrusage would count what its parent had."""
    return round(memory_of()["VmHWM"] / 2**20)


def main() -> None:
    """Build one index and write what it took."""
    name, n, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    folder, docs = folder_of(name, n, seed), documents(n, FOLDER, seed)
    folder.mkdir(parents=True, exist_ok=True)
    before = peak_mb()
    start = time.process_time()
    BUILDERS[name](docs, folder)
    seconds = time.process_time() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    facts: dict[str, Any] = {
        "build CPU s": round(seconds, 1),
        "peak RSS MB": peak_mb(),
        "bytes": size,
    }
    facts |= {"RSS before MB": before, "built at": commit()}
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
