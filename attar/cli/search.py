"""`attar search DIR "question"`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import attar
from attar.cli.console import cell, say, write_json, write_table
from attar.cli.stores import both_encoders, open_with_encoder
from attar.stores.records import Record
from attar.stores.types import Hits


def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A store.")],
    question: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many documents.")] = 5,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder of the question; default: the store's own.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="While it is upgraded: the new encoder; default: as noted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search a store with a question and print the best documents.

    While the store is being upgraded both models' vectors are asked, as `attar upgrade` set it up.
    """
    with attar.open(folder) as store:
        under_way = bool(store.info()["upgrade"])
    if to is not None and not under_way:
        raise ValueError(f"--to names the new encoder of an upgrade; {folder} is in none.")
    hits, records = (_both if under_way else _one)(folder, question, k, encoder, to)
    found: list[dict[str, Any]] = [
        {
            "score": float(score),
            "id": name,
            "text": records[name].text,
            "metadata": records[name].metadata,
        }
        for name, score in zip(hits.ids[0], hits.scores[0], strict=True)
    ]
    if as_json:
        write_json(found)
        return
    if not found:
        say("The store is empty.")
    write_table(
        [
            {"score": cell(hit["score"]), "id": hit["id"], "text": _start(hit["text"])}
            for hit in found
        ]
    )


Answer = tuple[Hits, dict[str, Record]]


def _one(folder: Path, question: str, k: int, encoder: str | None, _: str | None) -> Answer:
    with open_with_encoder(folder, encoder) as store:
        hits = store.search(text=question, k=k)
        return hits, {record.id: record for record in store.get(list(hits.ids[0]))}


def _both(folder: Path, question: str, k: int, encoder: str | None, to: str | None) -> Answer:
    from attar.retrieval.compat.upgrade import Upgrade

    before, after = both_encoders(folder, to, encoder)
    with attar.open(folder) as store:
        hits = Upgrade(store, before, after).search(question, k)
        return hits, {record.id: record for record in store.get(list(hits.ids[0]))}


def _start(text: str | None, characters: int = 110) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= characters else line[: characters - 1] + "…"
