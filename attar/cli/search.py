"""`attar search DIR "question"`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from attar.cli.console import cell, say, write_json, write_table
from attar.cli.stores import open_with_encoder


def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A store.")],
    question: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many documents.")] = 5,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder of the question; default: the store's own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search a store with a question and print the best documents."""
    with open_with_encoder(folder, encoder) as store:
        hits = store.search(text=question, k=k)
        records = {record.id: record for record in store.get(list(hits.ids[0]))}
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


def _start(text: str | None, characters: int = 110) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= characters else line[: characters - 1] + "…"
