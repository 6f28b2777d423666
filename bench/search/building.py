"""Indexes of other libraries, each built in its own process: CPU seconds, peak memory, files.

python -m bench.search.building NAME N SEED FOLDER
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from attar.stores.types import Float32
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


def build_faiss(spec: str) -> Callable[[Float32, Path], None]:
    """Train on a block, add in blocks."""

    def build(docs: Float32, folder: Path) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        if spec == PANORAMA:
            index = faiss.IndexFlatIPPanorama(docs.shape[1], 8)
        else:
            index = faiss.index_factory(docs.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
        index.train(np.asarray(docs[:BLOCK]))
        for first in range(0, len(docs), BLOCK):
            index.add(np.asarray(docs[first : first + BLOCK]))
        faiss.write_index(index, str(folder / "index"))

    return build


def build_usearch(docs: Float32, folder: Path) -> None:
    """HNSW over int8, the library's defaults otherwise."""
    from usearch.index import Index

    index = Index(ndim=docs.shape[1], metric="ip", dtype="i8", connectivity=32, expansion_add=128)
    for first in range(0, len(docs), BLOCK):
        part = np.asarray(docs[first : first + BLOCK])
        index.add(np.arange(first, first + len(part)), part, threads=1)
    index.save(str(folder / "index"))


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
    **{name: build_faiss(spec) for name, spec in FAISS.items()},
    PANORAMA: build_faiss(PANORAMA),
    "usearch HNSW i8": build_usearch,
    "ScaNN tree AH2": build_scann,
    "SVS Vamana LeanVec192": build_svs,
}


def built(name: str, n: int, seed: int) -> tuple[Path, dict[str, Any]]:
    """The folder of an index, built when it was not, and what building took."""
    safe = "".join(c if c.isalnum() else "-" for c in name)
    folder = FOLDER / f"peer_{safe}_{n}_{seed}"
    facts = folder / "facts.json"
    if not facts.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "bench.search.building", name, str(n), str(seed)]
        subprocess.run([*command, str(folder)], check=True)
    return folder, json.loads(facts.read_text())


def peak_mb() -> int:
    """The most that this process had in memory; getrusage would count what its parent had."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


def main() -> None:
    """Build one index and write what it took."""
    name, n, seed, where = sys.argv[1:]
    folder, docs = Path(where), documents(int(n), FOLDER, int(seed))
    before = peak_mb()
    start = time.process_time()
    BUILDERS[name](docs, folder)
    seconds = time.process_time() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    facts = {"build CPU s": round(seconds, 1), "peak RSS MB": peak_mb(), "bytes": size}
    facts["RSS before MB"] = before
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
