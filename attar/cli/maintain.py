"""`attar verify`, `repair`, `backup`, `shard`, `export`, `import`, `reencode`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import attar
from attar.cli.console import human_bytes, say, write_json
from attar.cli.progress import progress

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A store.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Compare everything on disk with its checksums and cross-references; exit code 1 if not."""
    from attar.stores.disk.verify import verify as run

    report = run(folder)
    if as_json:
        write_json(asdict(report) | {"whole": report.whole})
    else:
        size = human_bytes(report.nbytes)
        say(f"{report.documents:,} documents in {report.segments} segments, {size} of codes.")
        for problem in report.problems:
            say(f"Problem: {problem}")
        say("Whole." if report.whole else "Not whole: `attar repair` keeps what can be read.")
    if not report.whole:
        raise typer.Exit(1)


def shard(
    folder: Folder,
    out: Out,
    shards: Annotated[int, typer.Option(min=1, help="How many.")],
    as_json: AsJson = False,
) -> None:
    """Cut a store into shards of the same codec, for one server each (see `attar serve`)."""
    from attar.stores.shards import split

    with attar.open(folder) as store:
        paths = split(store, out, shards)
    if as_json:
        write_json([str(path) for path in paths])
    else:
        say(f"{len(paths)} shards in {out}.")


def repair(folder: Folder, as_json: AsJson = False) -> None:
    """Keep what is whole of a broken store, quarantine the rest, and name what is lost."""
    from attar.stores.disk.repair import repair as run

    done = run(folder, attar.load_codec)
    if as_json:
        write_json(asdict(done))
        return
    say(f"Kept {done.kept:,} documents; {done.rebuilt:,} codes made again from originals.")
    if done.quarantined:
        say(f"Moved to quarantine/: {', '.join(done.quarantined)}")
    if done.originals_dropped:
        say("The kept originals were damaged and are gone; the codes are whole.")
    for name in done.lost_ids:
        say(f"Lost: {name}")
    if done.lost_slots:
        say(f"Lost: {len(done.lost_slots):,} vectors whose document could not be read.")


def backup(folder: Folder, out: Out) -> None:
    """Copy a store while it is in use; the copy is verified before it gets its name."""
    with attar.open(folder) as store:
        size = store.backup(out)
    say(f"{out}: {human_bytes(size)}, verified.")


def export(
    folder: Folder,
    out: Out,
    form: Annotated[str, typer.Option(help="npy, safetensors or parquet.")] = "parquet",
) -> None:
    """Write documents and vectors for other tools: kept originals, or decoded codes."""
    from attar.stores.transfer.export import export as run

    with attar.open(folder) as store:
        count = run(store, out, form)
    say(f"{out}: {count:,} documents.")


def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What `export` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the new store.")],
    codec: Annotated[str, typer.Option(help="Spec string.")] = "waterfill@8x",
    metric: Annotated[str, typer.Option(help="cosine, ip or l2.")] = "cosine",
) -> None:
    """Make a store of what `attar export` wrote."""
    from attar.stores.transfer.export import import_into

    with attar.Store.create(out, codec, metric=metric) as store:
        count = import_into(store, source)
        serving = store.info()["serving"]
    say(f"{out}: {count:,} documents as {serving}.")


def reencode(
    folder: Folder,
    codec: Annotated[
        str | None, typer.Option(help="Spec string; without it an interrupted change goes on.")
    ] = None,
) -> None:
    """Change a store's codec in place, from kept originals or else from its codes; resumable."""
    recipe = None if codec is None else attar.codec(codec)
    with attar.open(folder, mode="w") as store:
        with progress("Encoding", len(store)) as advance:
            done = 0

            def on_progress(rows: int, total: int) -> None:
                nonlocal done
                advance(rows - done)
                done = rows

            count = store.reencode(recipe, on_progress=on_progress)
        facts = store.info()
    size = human_bytes(facts["bytes_per_vector"] * facts["n"])
    say(f"{folder}: {count:,} documents encoded as {facts['serving']}, {size}.")


def cluster(
    folder: Folder,
    cells: Annotated[
        int | None, typer.Option(help="How many; about the square root of the vectors if omitted.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of the first centres.")] = 0,
) -> None:
    """Group the vectors into cells, so that approximate searches read few of them."""
    with attar.open(folder, "w") as store:
        rows = store.cluster(cells, seed=seed).result()
        made = store.info()["cells"]
    say(f"{rows:,} vectors in {made:,} cells." if rows else "Too few vectors: they are scanned.")


def graph(
    folder: Folder,
    links: Annotated[int, typer.Option(help="At most so many of every vector, even.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the layers.")] = 0,
) -> None:
    """Link the vectors to a graph, for single approximate searches at high recall."""
    with attar.open(folder, "w") as store:
        rows = store.graph(links, seed=seed).result()
    say(f"{rows:,} vectors linked." if rows else "Too few vectors: they are scanned.")
