"""What a flat search costs from a million vectors to four: codes and sketch only, no floats kept.

Vectors are drawn block by block and encoded; sizes below the largest are its first rows, with the
same widths. One thread, CPU seconds. Beside one query's search: its scan of the sketch, and a plain
read of as many bytes, which says how much of the growth is the way from a cache to memory.
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

import attar
from attar.stores import metric as metrics
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import Widths, approximate
from attar.stores.kernels.exact import source
from attar.stores.kernels.library import best_level
from attar.stores.kernels.sketch import SketchCodes, quantized, sketch_top
from attar.stores.types import Codes, Query
from bench.machine import interleaved
from bench.registry import Result, bench
from bench.search.arms import read_probe
from bench.search.flat import bar
from bench.search.generator import BLOCK, unit, world
from bench.search.prepared import FOLDER, fresh

SEED = 2
WIDTHS = Widths(1000, 500)
ROUNDS = 7


def generated(n: int) -> tuple[Any, Codes]:
    """An int8 codec and its codes of the generator's first n documents, made once.

    Never more than one block of floats. The folder's name has a checksum of the codec: another one
    would not understand them.
    """
    origin = world(SEED)
    codec = attar.codec("int8").fit(origin.draw(20_000, np.random.default_rng((SEED, 1, 0))))
    folder = FOLDER / f"growth_int8_{n}_{SEED}_{zlib.crc32(codec.dump()):08x}"
    if not folder.exists():
        half = folder.with_suffix(".part")
        half.mkdir(parents=True, exist_ok=True)
        files: dict[str, NDArray[Any]] = {}
        for block, start in enumerate(range(0, n, BLOCK)):
            x = origin.draw(BLOCK, np.random.default_rng((SEED, 1, block)))[: n - start]
            codes = codec.encode(metrics.documents(x, "cosine", codec.norm))
            for name, array in codes.fields.items():
                if name not in files:
                    shape = (n, *array.shape[1:])
                    file = half / f"{name}.npy"
                    files[name] = np.lib.format.open_memmap(file, "w+", array.dtype, shape)
                files[name][start : start + BLOCK] = array
        half.rename(folder)
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
    return codec, Codes({name: fresh(array) for name, array in arrays.items()})


def first(index: Cascade, n: int) -> Cascade:
    """The cascade of the first n rows, a multiple of 16, in the same frame."""
    codes = index.codes
    some = SketchCodes(n, codes.head[: n // 16], codes.body[:n], np.array([0, n // 16]))
    held = source(index.source.layout, index.source.codes[:n])
    return Cascade(held, index.frame, some, index.errors, index.radii, index.spreads, index.largest)


def questions(codec: Any, draw: int = 2) -> Query:
    """Queries like nothing that was drawn: new documents plus .8 of their length in noise."""
    origin, rng = world(SEED), np.random.default_rng((SEED, draw))
    asked = unit(origin.draw(256, rng) + np.float32(0.8) * origin.noise(256, rng))
    return metrics.prepared(asked, "cosine", codec)


@bench("search/growth", gate="tests/stores/cascade")
def growth(quick: bool) -> Result:
    """CPU milliseconds per query at 1, 2 and 4 million vectors, int8, flat."""
    most, rounds = (400_000, 3) if quick else (4_000_000, ROUNDS)
    codec, codes = generated(most)
    index = Cascade.build(source(codec.layout, codes), gram_of(codec))
    query = questions(codec)
    sizes = [most // 4, most // 2, most]
    parts = {n: first(index, n // 16 * 16) for n in sizes}
    same = dict.fromkeys(sizes, WIDTHS)
    rows: list[dict[str, Any]] = [{"vectors": n} for n in sizes]
    bars = {}
    for batch, total in ((1, 32), (16, 64), (256, 256)):
        got = measured(parts, rows, query, batch, total, rounds, same)
        text = f"exponent <= 1.05 from {sizes[0]:,} to {sizes[-1]:,}, batch {batch}"
        bars[f"(f) b{batch}"] = bar(text, got, got <= 1.05)
    exponents = streamed(parts, rows, query, rounds)
    setup = {
        "data": f"bench/search/generator.py, the first {most} vectors of seed {SEED}; queries "
        "drawn from the same world plus .8 of noise",
        "clock": f"CPU ms per query, one thread, {rounds} interleaved rounds, {best_level()}",
        "widths": f"{WIDTHS.head}/{WIDTHS.body} at every size; recall is not the same",
        "one query, exponents": exponents,
    }
    return Result(rows, setup, bars)


def measured(
    parts: dict[int, Cascade],
    rows: list[dict[str, Any]],
    query: Query,
    batch: int,
    total: int,
    rounds: int,
    widths: dict[int, Widths],
) -> float:
    """Write milliseconds of every size into its row; returns the exponent of their growth."""
    arms = {
        str(n): lambda c=part, w=widths[n]: run(c, query, w, batch, total)
        for n, part in parts.items()
    }
    times = interleaved(arms, rounds)
    for row in rows:
        t = times[str(row["vectors"])]
        row[f"ms b{batch}"] = round(1000 * t["median"] / total, 3)
        row[f"spread b{batch}"] = f"{1000 * t['min'] / total:.3f}-{1000 * t['max'] / total:.3f}"
    return exponent({row["vectors"]: row[f"ms b{batch}"] for row in rows})


def exponent(cost: dict[int, float]) -> float:
    """The slope of log cost over log size."""
    return float(np.polyfit(np.log(list(cost)), np.log(list(cost.values())), 1)[0])


def streamed(
    parts: dict[int, Cascade], rows: list[dict[str, Any]], query: Query, rounds: int
) -> dict[str, float]:
    """GB/s of the sketch's scan by one query and of a plain read of as many bytes, interleaved."""
    projection = next(iter(parts.values())).frame.projection
    one = projection.metric.queries(query.coords[:1])
    weights = projection.weights(projection.inside(one))
    planned = quantized(weights, projection.head_dims, wide=True)
    arms: dict[str, Any] = {}
    for n, part in parts.items():
        arms[f"scan {n}"] = lambda c=part.codes: sketch_top(c, planned, WIDTHS.head)
        probe = read_probe(part.codes.head.nbytes)
        if probe is not None:
            arms[f"read {n}"] = probe
    times = interleaved(arms, 2 * rounds + 1)
    cost: dict[str, dict[int, float]] = {"scan": {}, "read": {}}
    for row in rows:
        n = row["vectors"]
        for what in cost:
            if f"{what} {n}" in times:
                cost[what][n] = seconds = times[f"{what} {n}"]["median"]
                row[f"{what} ms"] = round(1000 * seconds, 3)
                row[f"{what} GB/s"] = round(parts[n].codes.head.nbytes / seconds / 1e9, 2)
    return {what: round(exponent(some), 3) for what, some in cost.items() if some}


def run(index: Cascade, query: Query, widths: Widths, batch: int, total: int) -> None:
    """So many queries in batches."""
    for at in range(0, total, batch):
        part = Query(query.coords[at : at + batch], query.const[at : at + batch])
        approximate(index, part, 10, widths)
