"""`attar plan SOURCE --budget 200MB` or `--keep 0.99`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import attar
from attar.cli.console import human_bytes, say, write_json, write_table
from attar.cli.progress import progress

if TYPE_CHECKING:
    from attar.retrieval.evaluation.exact import Metric
    from attar.retrieval.planner.plan import Plan


def plan(
    source: Annotated[
        str,
        typer.Argument(
            help="A BEIR folder, JSONL(.gz), CSV, Parquet, a folder of text, HTML or PDF, or .npy."
        ),
    ],
    budget: Annotated[
        str | None, typer.Option(help="Bytes of the whole corpus: 200MB (MB = 10^6).")
    ] = None,
    keep: Annotated[float | None, typer.Option(help="Share to keep, such as 0.99.")] = None,
    goal_metric: Annotated[
        str, typer.Option("--of", help="Of what: overlap@10 or ndcg@10.")
    ] = "overlap@10",
    queries: Annotated[
        Path | None,
        typer.Option(help="BEIR folder, queries.jsonl(.gz) or .npy; default: pseudo-queries."),
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements, for ndcg@10.")] = None,
    encoder: Annotated[str, typer.Option(help="Who embeds the texts.")] = "all-MiniLM-L6-v2",
    metric: Annotated[str, typer.Option(help="Of the store: cosine, ip or l2.")] = "cosine",
    chunk: Annotated[
        str | None, typer.Option(help="Cut texts: 1000, 1000/100 characters, 256tokens/32.")
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="Field or column of the text.")] = None,
    id_field: Annotated[str | None, typer.Option(help="Field or column of the id.")] = None,
    ids: Annotated[Path | None, typer.Option(help="Ids of an .npy: JSON list or lines.")] = None,
    sample: Annotated[int, typer.Option(help="Documents to measure on.")] = 5000,
    asked: Annotated[int, typer.Option("--ask", help="Queries to measure with, at most.")] = 500,
    codecs: Annotated[
        str | None, typer.Option(help="Candidates, comma between; default: a list of ours.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write PICTURE.png and PICTURE.svg (extra `plan`).")
    ] = None,
    out: Annotated[Path, typer.Option(help="For the command that is printed.")] = Path("index"),
    seed: Annotated[int, typer.Option(help="Of samples, fits and intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, no progress.")] = False,
) -> None:
    """Choose a codec by measuring a sample: predicted quality and bytes of the whole corpus."""
    from attar.retrieval.planner.candidates import CANDIDATES
    from attar.retrieval.planner.choice import Goal, parse_size
    from attar.retrieval.planner.corpus_sample import draw_sample
    from attar.retrieval.planner.picture import save_picture
    from attar.retrieval.planner.plan import make_plan
    from attar.retrieval.sources import NpySource, read_source

    goal = Goal(None if budget is None else parse_size(budget), keep, goal_metric)
    tried = CANDIDATES if codecs is None else tuple(str(attar.codec(s)) for s in codecs.split(","))
    corpus = read_source(source, chunk=chunk, text_field=text_field, id_field=id_field, ids=ids)
    bare = isinstance(corpus, NpySource)
    embedder = None if bare and (queries is None or queries.suffix == ".npy") else encoder
    model = None if embedder is None else attar.encoder(embedder)
    given, judged = _asked(queries, qrels, goal_metric, model, asked, seed)
    documents = {} if judged is None else {d for grades in judged[1].values() for d in grades}
    with progress("Embedding the sample", sample, quiet=as_json or bare) as advance:
        drawn = draw_sample(corpus, model, sample, given, asked, seed, documents, advance)
    with progress("Measuring codecs", len(tried), quiet=as_json) as advance:
        made = make_plan(
            drawn,
            goal,
            metric=cast("Metric", metric),
            candidates=tried,
            judged=judged,
            seed=seed,
            advance=advance,
        )
    written = [] if picture is None else save_picture(made, picture)
    options = {
        "--encoder": None if bare else encoder,
        "--metric": None if metric == "cosine" else metric,
        "--chunk": chunk,
        "--text-field": text_field,
        "--id-field": id_field,
        "--ids": ids,
        "--seed": seed or None,
    }
    command = build_command(source, out, made.chosen.spec, options)
    if as_json:
        write_json(made.to_json() | {"command": command, "pictures": [str(p) for p in written]})
        return
    _show(made, command, written)


def build_command(source: str, out: Path, codec: str, options: dict[str, Any]) -> str:
    """The line that builds the planned store, quoted for a shell."""
    words = ["attar", "build-index", source, "--out", str(out), "--codec", codec]
    for name, value in options.items():
        if value is not None:
            words += [name, str(value)]
    return shlex.join(words)


def _asked(
    queries: Path | None, qrels: Path | None, goal_metric: str, model: Any, limit: int, seed: int
) -> tuple[Any, tuple[tuple[str, ...], dict[str, dict[str, int]]] | None]:
    """Query vectors or None, and what is judged when nDCG decides."""
    from attar.retrieval.evaluation.loading import load_asked
    from attar.retrieval.sources import read_qrels

    if goal_metric != "ndcg@10":
        if qrels is not None:
            raise ValueError("Judgements decide nothing here; add --of ndcg@10 or drop --qrels.")
        if queries is None:
            return None, None
        return load_asked(queries, model, limit, seed).vectors, None
    if queries is None or qrels is None:
        raise ValueError("nDCG@10 needs judged queries; pass --queries and --qrels.")
    judgements = read_qrels(qrels)
    asked = load_asked(queries, model, limit, seed, judgements)
    return asked.vectors, (asked.ids, {name: judgements[name] for name in asked.ids})


def _show(made: "Plan", command: str, written: list[Path]) -> None:
    """The table of all points, then the choice in words, then the command."""
    best = {point.spec for point in made.front}
    rows = [
        {
            "": "→" if point is made.chosen else ("·" if point.spec in best else ""),
            "codec": point.spec,
            "B/vector": point.bytes_per_vector,
            "side": human_bytes(point.side_bytes),
            "in all": human_bytes(point.total_bytes),
            made.goal.metric: point.quality.mean,
            "95 % low": point.quality.low,
            "high": point.quality.high,
        }
        for point in sorted(made.points, key=lambda p: -p.total_bytes)
    ]
    write_table(
        rows,
        f"{made.total:,} documents ({made.metric}), from {made.sample:,} and {made.queries:,} "
        f"queries ({made.origin}); · Pareto front, → chosen",
    )
    for spec, reason in made.skipped.items():
        say(f"Skipped {spec}: {reason}")
    quality = made.chosen.quality
    what = (
        "share of float32's nDCG@10 (on the sample)" if "ndcg" in made.goal.metric else "overlap@10"
    )
    say(
        f"{made.chosen.spec}: {human_bytes(made.chosen.total_bytes)}, {what} {quality.mean:.4f} "
        f"(95 %: {quality.low:.4f} … {quality.high:.4f})"
    )
    for path in written:
        say(f"Picture: {path}")
    say(command)
