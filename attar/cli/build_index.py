"""`attar build-index SOURCE --out DIR`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import attar
from attar.cli.console import human_bytes, say, write_json
from attar.cli.progress import progress


def build_index(
    source: Annotated[
        str,
        typer.Argument(
            help="A BEIR folder, JSONL(.gz), CSV, Parquet, a folder of text, HTML or PDF, or .npy."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new store.")],
    encoder: Annotated[str, typer.Option(help="Who embeds the texts.")] = "all-MiniLM-L6-v2",
    codec: Annotated[str, typer.Option(help="Spec string.")] = "waterfill@8x",
    metric: Annotated[str, typer.Option(help="cosine, ip or l2.")] = "cosine",
    chunk: Annotated[
        str | None, typer.Option(help="Cut texts: 1000, 1000/100 characters, 256tokens/32.")
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="Field or column of the text.")] = None,
    id_field: Annotated[str | None, typer.Option(help="Field or column of the id.")] = None,
    ids: Annotated[Path | None, typer.Option(help="Ids of an .npy: JSON list or lines.")] = None,
    keep_originals: Annotated[bool, typer.Option(help="Keep float32 vectors too.")] = False,
    seed: Annotated[int, typer.Option(help="Of the training sample.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace a store that is there.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray (extra ray).")] = "local",
    workers: Annotated[int, typer.Option(help="Of the engine ray.")] = 2,
    gpus: Annotated[float, typer.Option(help="Of each of these workers.")] = 0,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave out PDFs that fail.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, no progress.")] = False,
) -> None:
    """Build a compressed store from a corpus. Interrupted, the same command continues it."""
    from attar.retrieval.sources import read_source

    corpus = read_source(
        source,
        chunk=chunk,
        text_field=text_field,
        id_field=id_field,
        ids=ids,
        skip_unreadable=skip_unreadable,
    )
    with attar.build_index(
        corpus,
        out,
        encoder,
        codec,
        metric,
        seed=seed,
        keep_originals=keep_originals,
        overwrite=overwrite,
        engine=_engine(engine, workers, gpus),
        progress=partial(progress, quiet=as_json),
    ) as store:
        facts = store.info()
    if as_json:
        write_json(facts)
        return
    for note in corpus.notes:
        say(f"Note: {note}")
    if not facts["fitted"]:
        needed = attar.codec(codec).min_rows(facts["dim"])
        say(f"Note: {codec} is fitted on {needed:,} documents; until then they are exact float32.")
    size = human_bytes(facts["bytes_per_vector"] * facts["n"])
    say(
        f"{out}: {facts['n']:,} documents as {facts['serving']}, {facts['bytes_per_vector']} bytes "
        f"a vector, {size} in all and {human_bytes(facts['side_bytes'])} beside."
    )


def _engine(name: str, workers: int, gpus: float) -> Any:
    if name != "ray":
        return name
    from attar.retrieval.indexing.ray_engine import RayEngine

    return RayEngine(workers, gpus=gpus)
