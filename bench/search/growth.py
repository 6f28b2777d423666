"""What a flat search costs from a million vectors to four: codes and sketch only, no floats kept.

Vectors are drawn block by block and encoded; sizes below the largest are its first rows, with the
same widths. One thread, CPU seconds.
"""

from typing import Any

import numpy as np

import attar
from attar.stores import metric as metrics
from attar.stores.cascade.index import Cascade
from attar.stores.cascade.projection import gram_of
from attar.stores.cascade.search import Widths, approximate
from attar.stores.kernels.exact import source
from attar.stores.kernels.library import best_level
from attar.stores.kernels.sketch import SketchCodes
from attar.stores.types import Codes, Query
from bench.machine import interleaved
from bench.registry import Result, bench
from bench.search.flat import bar
from bench.search.generator import BLOCK, unit, world
from bench.search.prepared import fresh, kept

SEED = 2
WIDTHS = Widths(1000, 500)
ROUNDS = 7


def drawn(n: int, codec: Any) -> dict[str, Any]:
    """Codes of the generator's first n documents, never more than one block of floats."""
    origin, parts = world(SEED), []
    for block in range(-(-n // BLOCK)):
        x = origin.draw(BLOCK, np.random.default_rng((SEED, 1, block)))
        x = metrics.documents(x[: n - block * BLOCK], "cosine", codec.norm)
        parts.append(codec.encode(x).fields)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def first(index: Cascade, n: int) -> Cascade:
    """The cascade of the first n rows, a multiple of 16, in the same frame."""
    codes = index.codes
    some = SketchCodes(n, codes.head[: n // 16], codes.body[:n], np.array([0, n // 16]))
    held = source(index.source.layout, index.source.codes[:n])
    return Cascade(held, index.frame, some, index.errors, index.radii, index.spreads, index.largest)


@bench("search/growth", gate="tests/stores/cascade")
def growth(quick: bool) -> Result:
    """CPU milliseconds per query at 1, 2 and 4 million vectors, int8, flat."""
    most = 400_000 if quick else 4_000_000
    origin = world(SEED)
    codec = attar.codec("int8").fit(origin.draw(20_000, np.random.default_rng((SEED, 1, 0))))
    fields, _ = kept(f"growth_codes_{most}", lambda: drawn(most, codec))
    held = source(codec.layout, Codes({name: fresh(array) for name, array in fields.items()}))
    del fields
    index = Cascade.build(held, gram_of(codec))
    rng = np.random.default_rng((SEED, 2))
    asked = unit(origin.draw(256, rng) + np.float32(0.8) * origin.noise(256, rng))
    query = metrics.prepared(asked, "cosine", codec)
    sizes = [most // 4, most // 2, most]
    parts = {n: first(index, n // 16 * 16) for n in sizes}
    rows: list[dict[str, Any]] = [{"vectors": n} for n in sizes]
    bars = {}
    for batch, total in ((1, 32), (16, 64), (256, 256)):
        times = interleaved(
            {
                str(n): lambda c=part, b=batch, t=total: run(c, query, b, t)
                for n, part in parts.items()
            },
            3 if quick else ROUNDS,
        )
        for row in rows:
            t = times[str(row["vectors"])]
            row[f"ms b{batch}"] = round(1000 * t["median"] / total, 3)
            spread = f"{1000 * t['min'] / total:.3f}-{1000 * t['max'] / total:.3f}"
            row[f"spread b{batch}"] = spread
        ms = [row[f"ms b{batch}"] for row in rows]
        got = float(np.polyfit(np.log(sizes), np.log(ms), 1)[0])
        text = f"exponent <= 1.05 from {sizes[0]:,} to {sizes[-1]:,}, batch {batch}"
        bars[f"(f) b{batch}"] = bar(text, got, got <= 1.05)
    setup = {
        "data": f"bench/search/generator.py, the first {most} vectors of seed {SEED}; queries "
        "drawn from the same world plus .8 of noise",
        "clock": f"CPU ms per query, one thread, {ROUNDS} interleaved rounds, {best_level()}",
        "widths": f"{WIDTHS.head}/{WIDTHS.body} at every size; recall is not the same",
    }
    return Result(rows, setup, bars)


def run(index: Cascade, query: Query, batch: int, total: int) -> None:
    """So many queries in batches."""
    for at in range(0, total, batch):
        part = Query(query.coords[at : at + batch], query.const[at : at + batch])
        approximate(index, part, 10, WIDTHS)
