"""`attar evaluate DIR --queries Q --qrels R`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attar.cli.console import cell, human_bytes, say, write_json
from attar.cli.progress import progress
from attar.cli.stores import open_with_encoder

if TYPE_CHECKING:
    from attar.retrieval.evaluation.report import Reference
    from attar.stores.protocols import Encoder
    from attar.stores.store import Store


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A store.")],
    queries: Annotated[Path, typer.Option(help="BEIR folder or queries.jsonl(.gz).")],
    qrels: Annotated[Path, typer.Option(help="BEIR folder, .tsv, or a TREC file.")],
    encoder: Annotated[
        str | None, typer.Option(help="Encoder of the queries; default: the store's own.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Exact float32 vectors, .npy with ids beside it.")
    ] = None,
    reembed: Annotated[
        bool, typer.Option(help="Embed the stored texts again for the reference.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a store on judged queries, against exact float32 where there is a reference."""
    from attar.retrieval.evaluation.report import evaluate_store
    from attar.retrieval.sources import read_qrels, read_queries

    asked, judged = read_queries(queries), read_qrels(qrels)
    with open_with_encoder(folder, encoder) as store:
        attached = store.encoder
        if attached is None:
            raise ValueError("An evaluation embeds the queries; pass --encoder NAME.")
        exact = _reference(store, attached, reference, reembed, quiet=as_json)
        result = evaluate_store(store, attached, asked, judged, exact)
    if as_json:
        write_json(result)
        return
    for key, value in result.items():
        say(f"{key:<17} {_shown(key, value)}")


def _reference(
    store: "Store", encoder: "Encoder", path: Path | None, reembed: bool, quiet: bool
) -> "Reference | None":
    """What the user gave; else kept originals; else, when asked, the texts embedded again."""
    from attar.retrieval.evaluation.report import Reference
    from attar.retrieval.indexing.embed import embed_documents
    from attar.retrieval.sources import NpySource

    if path is not None:
        source = NpySource(path)
        return Reference(source.ids_between(0, len(source)), source.vectors, str(path))
    if store.info()["originals"]:
        ids = [record.id for record in store.iter()]
        return Reference(ids, store.vectors(ids, originals=True), "kept originals")
    if reembed:
        records = [record for record in store.iter() if record.text is not None]
        texts = [record.text or "" for record in records]
        if not quiet:
            typer.echo(
                f"Embedding {len(texts):,} texts again for exact vectors: as long as the build "
                "took. --reference or --keep-originals spares it.",
                err=True,
            )
        with progress("Embedding the reference", len(texts), quiet=quiet) as advance:
            vectors = embed_documents(encoder, texts, advance)
        return Reference([record.id for record in records], vectors, "texts embedded again")
    return None


def _shown(key: str, value: Any) -> str:
    if isinstance(value, dict) and "mean" in value:
        return f"{value['mean']:.4f}  (95 %: {value['low']:.4f} … {value['high']:.4f})"
    if key == "bytes":
        return ", ".join(f"n = {int(n):,}: {human_bytes(size)}" for n, size in value.items())
    return cell(value)
