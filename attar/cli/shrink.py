"""`attar shrink SOURCE --out DIR`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import attar
from attar.cli.console import human_bytes, say, write_json


def shrink(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A Chroma or LanceDB folder, a faiss index, a Parquet, .npy, .safetensors or .pt "
            "file of vectors, a Qdrant URL or .snapshot, a postgresql:// URL, an export of a "
            "store, or a store.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The new store.")],
    codec: Annotated[str, typer.Option("--codec", help="Its codec.")] = "waterfill@24x",
    collection: Annotated[
        str | None, typer.Option("--collection", help="Which one, where there are several.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="cosine, ip or l2, for sources that do not know theirs."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="The model that made the vectors, for searches by text."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compress a collection of another library into a store; print what that saved and kept."""
    from attar.retrieval import interchange

    attached = None if encoder is None else attar.encoder(encoder)
    held = interchange.open_collection(source, collection, metric=metric)
    done = interchange.shrink(held, out, codec, encoder=attached)
    if as_json:
        more = {"vectors_smaller": done.vectors_smaller, "smaller": done.smaller}
        write_json(dataclasses.asdict(done) | more)
        return
    say(f"{done.documents:,} documents of {done.kind} ({done.name}), {done.dim} dimensions")
    for what, before, after, times in (
        ("vectors and index", done.source_vector_bytes, done.vector_bytes, done.vectors_smaller),
        ("everything", done.source_bytes, done.store_bytes, done.smaller),
    ):
        was = "?" if before is None else human_bytes(before)
        ratio = "" if times is None else f"  ({times:.1f}x smaller)"
        say(f"{what:<18} {was:>9} -> {human_bytes(after):>9}{ratio}")
    say(f"overlap@10         {done.overlap:.3f} with the exact neighbours of its own documents")
    say(f"store              {out}  ({done.codec})")
