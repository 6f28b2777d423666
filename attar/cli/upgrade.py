"""`attar upgrade DIR --to ENCODER`: whether another model pays, and the change itself."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import attar
from attar.cli.console import human_bytes, say, write_json
from attar.cli.progress import progress
from attar.cli.stores import both_encoders

if TYPE_CHECKING:
    from attar.retrieval.compat.estimate import Asked, Estimate
    from attar.stores.protocols import Encoder
    from attar.stores.store import Store


def upgrade(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A store.")],
    to: Annotated[
        str | None, typer.Option(help="The new encoder; not needed to go on or to end.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure on a sample and advise; change nothing.")
    ] = False,
    commit: Annotated[
        bool, typer.Option("--commit", help="End the upgrade: the old vectors go.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="End the upgrade: the new vectors go.")
    ] = False,
    bridge: Annotated[
        str, typer.Option(help="While it runs: rescore, or bridge (an adapter).")
    ] = "rescore",
    side: Annotated[
        str | None,
        typer.Option(
            help="Of an adapter: query, or document (maps old codes). Default: the better."
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--from", help="The old encoder; default: the store's own.")
    ] = None,
    codec: Annotated[
        str | None, typer.Option(help="Codec of the new vectors; default: the store's.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Judged queries: a BEIR folder or queries.jsonl(.gz).")
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Their judgements: BEIR folder, .tsv, or a TREC file.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Texts, one a line, to fit on where the store has none.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Documents to embed for --dry-run.", min=1)] = 4000,
    most: Annotated[
        int | None, typer.Option(help="Stop after so many documents; the next call goes on.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Change a store's embedding model without stopping, and know beforehand whether to.

    Nothing is final until --commit: the old vectors stay, and so does every search with the old
    model. Interrupted at any moment, the same command goes on.
    """
    if commit and rollback:
        raise ValueError("--commit keeps the new model and --rollback the old one; give one.")
    if (queries is None) != (qrels is None):
        raise ValueError("Judged queries need both --queries and --qrels.")
    if rollback:
        _roll_back(folder)
        return
    if dry_run:
        _advise(folder, to, encoder, (queries, qrels), pairs, codec, sample, seed, as_json)
        return
    _go_on(folder, to, encoder, (bridge, side), codec, queries, most, seed, commit)


def _roll_back(folder: Path) -> None:
    from attar.retrieval.compat.upgrade import roll_back

    with attar.open(folder, mode="w") as store:
        roll_back(store)
        say(f"{folder}: rolled back; {len(store):,} documents as they were.")


def _asked(paths: tuple[Path | None, Path | None]) -> "Asked | None":
    from attar.retrieval.compat.estimate import Asked
    from attar.retrieval.sources import read_qrels, read_queries

    queries, qrels = paths
    if queries is None or qrels is None:
        return None
    return Asked(read_queries(queries), read_qrels(qrels))


def _advise(
    folder: Path,
    to: str | None,
    old: str | None,
    judged: tuple[Path | None, Path | None],
    pairs: Path | None,
    codec: str | None,
    sample: int,
    seed: int,
    as_json: bool,
) -> None:
    from attar.retrieval.compat.beginning import present
    from attar.retrieval.compat.estimate import estimate

    before, after = both_encoders(folder, to, old)
    old_model = present(before)
    texts = None if pairs is None else [t for t in pairs.read_text("utf-8").splitlines() if t]
    with attar.open(folder) as store:
        found = estimate(
            store,
            old_model,
            after,
            _asked(judged),
            spec=codec,
            documents=sample,
            pairs=texts,
            seed=seed,
        )
        size = store.info()["bytes_per_vector"] * len(store)
    if as_json:
        write_json(_plain(found, old_model, after))
    else:
        _show(found, old_model, after, size)


def _plain(found: "Estimate", before: "Encoder", after: "Encoder") -> dict[str, Any]:
    plain = asdict(found) | {"from": before.name, "to": after.name}
    drift = found.verdict.drift
    plain["verdict"]["drift"] = None if drift is None else asdict(drift) | {"drift": drift.drift}
    return plain


def _show(found: "Estimate", before: "Encoder", after: "Encoder", size: int) -> None:
    verdict = found.verdict
    kind = "judged" if found.judged else "made from the texts (one sentence finds its document)"
    say(f"{before.name} -> {after.name}")
    say(f"{found.documents:,} of {found.of:,} documents, {verdict.queries:,} questions, {kind}")
    if verdict.drift is not None:
        word = " (unrelated)" if verdict.drift.unrelated else ""
        say(f"Anchor drift {verdict.drift.drift:.3f}{word}")
    say(f"{'':<10}{'nDCG@10':>8} {'against staying':>26} {'of old':>7} {'of new':>7}")
    for each in verdict.options:
        gain = f"{each.gain.mean:+.4f} [{each.gain.low:+.4f}, {each.gain.high:+.4f}]"
        of_new = "" if each.of_new is None else f"{each.of_new:.1%}"
        say(
            f"{each.name:<10}{each.quality.mean:>8.4f} {gain:>26} {each.of_old:>7.1%} {of_new:>7}"
            f"  {each.how}"
        )
    if found.hours is not None and found.nbytes is not None and found.ms_per_document is not None:
        say(
            f"Re-embedding: {found.hours:.2f} hours here ({found.ms_per_document:.1f} ms a "
            f"document), {human_bytes(found.nbytes)} of codes, {human_bytes(size)} now."
        )
        say(
            f"Rescoring: a query embeds up to 200 ms of candidates that are new to it "
            f"({found.cold_ms:,.0f} ms for all 50), and keeps them."
        )
    say(f"Advice: {verdict.advice}. {verdict.why}")


def _go_on(
    folder: Path,
    to: str | None,
    old: str | None,
    bridge: tuple[str, str | None],
    codec: str | None,
    queries: Path | None,
    most: int | None,
    seed: int,
    commit: bool,
) -> None:
    from attar.retrieval.compat.upgrade import Upgrade
    from attar.retrieval.sources import read_queries

    before, after = both_encoders(folder, to, old)
    questions = None if queries is None else list(read_queries(queries).values())[:1000]
    with attar.open(folder, mode="w") as store:
        if store.info()["upgrade"]:
            upgrade = Upgrade(store, before, after)
        else:
            kind, side = bridge
            upgrade = Upgrade.begin(
                store,
                before,
                after,
                bridge=kind,
                side=side,
                spec=codec,
                questions=questions,
                seed=seed,
            )
            say(f"{folder}: the bridge ({upgrade.how}) is installed.")
        _embed(upgrade, store, most)
        done, total = upgrade.progress()
        if commit:
            upgrade.commit()
            say(f"{folder}: {total:,} documents are {after.name}'s now.")
        else:
            end = "--commit ends it" if done == total else "the same command goes on"
            say(f"{folder}: {done:,} of {total:,} embedded; {end}, --rollback undoes it.")


def _embed(upgrade: Any, store: "Store", most: int | None) -> None:
    before, total = upgrade.progress()
    with progress("Embedding", total, before) as advance:

        def on_progress(done: int, _: int) -> None:
            nonlocal before
            advance(done - before)
            before = done

        upgrade.run(on_progress, most=most)
