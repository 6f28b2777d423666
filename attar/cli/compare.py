"""`attar compare SOURCE --queries Q --codecs A,B,C`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import attar
from attar.cli.console import human_bytes, say, write_json, write_table
from attar.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attar.retrieval.evaluation.embedding_set import EmbeddingSet, Slice
    from attar.retrieval.evaluation.exact import Metric
    from attar.retrieval.evaluation.loading import Asked
    from attar.stores.protocols import Encoder

DEFAULT = "float16,int8,pca50%+float8_e4m3,waterfill@8x,waterfill@16x,waterfill@32x,binary:scaled"


def compare(
    source: Annotated[str, typer.Argument(help="Corpus, as for build-index; or an .npy.")],
    queries: Annotated[Path, typer.Option(help="BEIR folder, queries.jsonl(.gz), or .npy.")],
    qrels: Annotated[Path | None, typer.Option(help="BEIR folder, .tsv, or a TREC file.")] = None,
    codecs: Annotated[str, typer.Option(help="Spec strings, comma between.")] = DEFAULT,
    encoder: Annotated[str, typer.Option(help="Who embeds the texts.")] = "all-MiniLM-L6-v2",
    metric: Annotated[str, typer.Option(help="cosine, ip or l2.")] = "cosine",
    other: Annotated[
        str | None, typer.Option(help="Another corpus: the slice of a wrong-domain fit.")
    ] = None,
    typos: Annotated[bool, typer.Option(help="A slice of queries with a typing error.")] = True,
    limit: Annotated[
        int, typer.Option(help="Queries at most, drawn by the seed; judged ones only.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of fits, draws and intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare codecs at counted bytes with exact float32: overlap, nDCG, worst decile, cost."""
    from attar.retrieval.evaluation.harness import compare as measure
    from attar.retrieval.evaluation.loading import load_asked
    from attar.retrieval.sources import read_qrels

    recipes = [attar.codec(spec) for spec in codecs.split(",")]
    embedder = _embedder(encoder, source, queries)
    judged = None if qrels is None else read_qrels(qrels)
    asked = load_asked(queries, embedder, limit, seed, judged)
    data = _embedded(source, asked, embedder, judged, quiet=as_json)
    slices = _slices(asked, embedder, other, typos, seed, quiet=as_json)
    data = type(data)(**(vars(data) | {"slices": slices}))
    with progress("Measuring codecs", len(recipes), quiet=as_json) as advance:
        chosen = cast("Metric", metric)
        result = measure(data, recipes, metric=chosen, seed=seed, advance=advance)
    if as_json:
        write_json(result)
        return
    _show(result)


def _embedder(encoder: str, source: str, queries: Path) -> "Encoder | None":
    """No model is loaded when everything is vectors already."""
    if source.endswith(".npy") and queries.suffix == ".npy":
        return None
    return attar.encoder(encoder)


def _embedded(
    source: str,
    asked: "Asked",
    encoder: "Encoder | None",
    judged: "Mapping[str, Mapping[str, int]] | None",
    quiet: bool,
) -> "EmbeddingSet":
    from attar.retrieval.evaluation.embedding_set import EmbeddingSet
    from attar.retrieval.evaluation.loading import load_documents
    from attar.retrieval.sources import read_source

    corpus = read_source(source)
    total = sum(1 for _ in corpus) if not source.endswith(".npy") else 0
    with progress("Embedding", total, quiet=quiet or not total) as advance:
        ids, vectors = load_documents(corpus, encoder, advance)
    name = Path(source).stem or source
    return EmbeddingSet(name, vectors, asked.vectors, ids, asked.ids, judged)


def _slices(
    asked: "Asked",
    encoder: "Encoder | None",
    other: str | None,
    typos: bool,
    seed: int,
    quiet: bool,
) -> dict[str, "Slice"]:
    from attar.retrieval.evaluation.embedding_set import Slice
    from attar.retrieval.evaluation.loading import load_documents
    from attar.retrieval.evaluation.slices import by_length, with_typo
    from attar.retrieval.sources import read_source

    slices: dict[str, Slice] = {}
    everyone = tuple(range(len(asked.ids)))
    if asked.texts is not None and encoder is not None:
        slices |= {name: Slice(rows) for name, rows in by_length(asked.texts).items()}
        if typos:
            wrong = [with_typo(text, seed) for text in asked.texts]
            slices["typo"] = Slice(everyone, encoder.encode_queries(wrong))
    if other is not None:
        with progress("Embedding the other corpus", 0, quiet=True) as advance:
            _, vectors = load_documents(read_source(other), encoder, advance)
        slices["wrong domain"] = Slice(everyone, fit=vectors)
    return slices


def _show(result: dict[str, Any]) -> None:
    """One table of all codecs, then what its means hide."""
    k = result["k"]
    rows = []
    for row in result["codecs"]:
        overlap, judged, size = row["overlap"], row["nDCG@10"], row["bytes"]
        shown: dict[str, Any] = {
            "codec": row["codec"],
            "B/vector": size["per_vector"],
            "side": human_bytes(size["side"]),
            "1M": human_bytes(size["totals"]["1000000"]),
            f"overlap@{k}": _around(overlap),
            "worst 10 %": overlap["worst_decile"],
        }
        if judged is not None:
            shown["nDCG@10"] = judged["mean"]
            shown["- float32"] = _around(judged["difference"])
            flips = judged["flips"]
            shown["+/-"] = f"{flips['better']}/{flips['worse']}"
        shown |= {name: part["overlap"]["mean"] for name, part in row["slices"].items()}
        shown["enc s/1k"] = row["cost"]["encode_cpu_seconds_per_1000"]
        shown["ask s/1k"] = row["cost"]["query_cpu_seconds_per_1000"]
        rows.append(shown)
    write_table(
        rows,
        f"{result['set']}: {result['documents']:,} documents, {result['queries']:,} queries, "
        f"{result['metric']}; intervals {result['interval']}",
    )
    for row in result["codecs"]:
        for alarm in row["alarms"]:
            say(f"Alarm: {row['codec']}: {alarm}.")


def _around(interval: dict[str, Any]) -> str:
    """Mean and half the width of its interval."""
    return f"{interval['mean']:.4f} ±{(interval['high'] - interval['low']) / 2:.3f}"
