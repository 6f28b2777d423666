"""A filter that one document in a hundred passes, against searching more and throwing away."""

import tempfile
from pathlib import Path

import numpy as np

import attar
from bench.machine import interleaved
from bench.registry import Result, bench
from bench.stores.documents import batch, batches


@bench("stores/filtering", gate="tests/stores/test_filters.py")
def filtering(quick: bool) -> Result:
    """Single queries, k = 10: `filter=` against the 2,000 best of all, then their metadata."""
    n, dim = (20_000, 64) if quick else (200_000, 256)
    with tempfile.TemporaryDirectory() as folder:
        codec = attar.codec("int8").fit(batch(0, 10_000, dim))
        with attar.Store.create(Path(folder) / "store", codec) as store:
            first = 0
            for ids, x, _ in batches(n, 10_000, dim):
                notes = [{"part": i % 100, "kind": "a"} for i in range(first, first + len(ids))]
                store.add(ids, x, metadata=notes)
                first += len(ids)
            queries = batch(10**9, 8, dim)

            def filtered() -> list[list[str]]:
                return [store.search(q, 10, filter={"part": 7}).ids[0].tolist() for q in queries]

            def post() -> list[list[str]]:
                found = []
                for q in queries:
                    ids = store.search(q, 2000).ids[0].tolist()
                    found.append([r.id for r in store.get(ids) if r.metadata == _WANTED][:10])
                return found

            def unfiltered() -> object:
                return [store.search(q, 10) for q in queries]

            same = np.mean([a == b for a, b in zip(filtered(), post(), strict=True)])
            arms = {"filter": filtered, "post-filter of 2000": post, "no filter": unfiltered}
            times = interleaved(arms, rounds=3 if quick else 7)
    rows = [{"arm": arm} | {k: 1000 * v / 8 for k, v in t.items()} for arm, t in times.items()]
    ratio = times["post-filter of 2000"]["median"] / times["filter"]["median"]
    setup = {"n": n, "dim": dim, "codec": "int8", "selectivity": 0.01, "unit": "CPU ms a query"}
    return Result(
        rows,
        setup | {"equal_answers": float(same)},
        {
            "filter": {
                "bar": ">= 5x faster than post-filtering at 1 % selectivity",
                "measured": round(ratio, 2),
                "met": bool(ratio >= 5) if not quick else None,
            }
        },
    )


_WANTED = {"part": 7, "kind": "a"}
