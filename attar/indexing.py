"""Building an index by names: the front door to `attar.retrieval.indexing`."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attar.codecs import codec as parse_codec
from attar.encoders import encoder as make_encoder
from attar.retrieval.indexing.build import (
    Plan,
    Wiring,
    open_or_create,
    plan_build,
    run_build,
)
from attar.retrieval.sources import NpySource, Source, read_source
from attar.store import Store
from attar.stores.store import StorePath

if TYPE_CHECKING:
    from attar.retrieval.indexing.ray_engine import RayEngine

Advance = Callable[[int], None]
Progress = Callable[[str, int, int], AbstractContextManager[Advance]]


def build_index(
    source: StorePath | Source,
    out: StorePath,
    encoder: Any = "all-MiniLM-L6-v2",
    codec: str = "waterfill@8x",
    metric: str = "cosine",
    *,
    seed: int = 0,
    keep_originals: bool = False,
    overwrite: bool = False,
    engine: "RayEngine | str" = "local",
    progress: Progress | None = None,
    **reading: Any,
) -> Store:
    """Build a compressed store from a corpus, or continue a build that was interrupted.

    Parameters
    ----------
    source
        A path (BEIR folder, JSONL(.gz), CSV, Parquet, a folder of .txt/.md/.html/.pdf, `.npy` with
        ids) or a Source; `reading` (chunk=, text_field=, id_field=, ids=, …) goes to `read_source`.
    out
        Folder of the store. An unfinished build of the same request continues; a finished one, or
        one that was asked something else, is a FileExistsError that names the difference.
    encoder
        Object or name; not used for `.npy`, which is vectors already.
    codec
        Spec string, fitted on the 65,536 documents whose ids hash lowest with `seed`.
    engine
        "local", or "ray" (extra `ray`), or a `RayEngine` that says how many workers: actors on a
        Ray cluster embed and encode. Ids and codes are those of the local build on one thread.
    progress
        `(label, total, done)` to a context manager that gives `advance(count)`.

    Returns
    -------
    Store
        Open for writing; close it.
    """
    run = _runner(engine)
    corpus = source if isinstance(source, Source) else read_source(str(source), **reading)
    embedder = None if isinstance(corpus, NpySource) else make_encoder(encoder)
    plan = plan_build(corpus, Path(out), parse_codec(codec), embedder, metric, seed, keep_originals)
    store = open_or_create(plan, Wiring(Store.create, Store.open), overwrite)
    label = "Adding" if embedder is None else "Embedding"
    show = progress or _silent
    try:
        with show(label, plan.total, len(store)) as advance:
            run(plan, store, advance)
    except BaseException:
        store.close()
        raise
    return store


def _runner(engine: "RayEngine | str") -> Callable[[Plan, Store, Advance], None]:
    if engine == "local":
        return run_build
    from attar.retrieval.indexing.ray_engine import RayEngine

    chosen = RayEngine() if engine == "ray" else engine
    if not isinstance(chosen, RayEngine):
        raise ValueError(f"engine is 'local', 'ray' or a RayEngine, got {engine!r}.")
    return chosen.run


def _silent(label: str, total: int, done: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda count: None)
