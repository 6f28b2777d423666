"""`attar serve DIR` and `attar context serve`: servers, on loopback unless told otherwise."""

import os
from pathlib import Path
from typing import Annotated

import typer

from attar.cli.console import say

Host = Annotated[str, typer.Option(help="Address to bind to.")]


def serve(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR…", help="A store, or shards; folders or URLs.")
    ],
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 8600,
    writable: Annotated[bool, typer.Option(help="Allow adding and deleting.")] = False,
    encoder: Annotated[str | None, typer.Option(help="Encoder, for searches by text.")] = None,
) -> None:
    """Serve a store, or shards as one, over HTTP; keys: ATTAR_API_KEYS, separated by commas."""
    from attar.server.serve import serve as run
    from attar.server.settings import Settings

    keys = tuple(key for key in os.environ.get("ATTAR_API_KEYS", "").split(",") if key)
    say(f"http://{host}:{port}/ serves {', '.join(folders)}.")
    run(folders, host, port, writable=writable, encoder=encoder, settings=Settings(api_keys=keys))


def serve_context(
    upstream: Annotated[str, typer.Option(help="http(s)://host[:port][/prefix] of the LLM.")],
    budget: Annotated[int, typer.Option(help="Tokens of a whole request.")],
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 8788,
    shadow: Annotated[bool, typer.Option(help="Pass everything, only report.")] = False,
    tool_results: Annotated[
        int | None, typer.Option(help="Tokens that a tool's result may keep on entry.")
    ] = None,
    originals: Annotated[Path | None, typer.Option(help="File for the originals.")] = None,
    ttl: Annotated[
        float, typer.Option(help="Seconds until what was kept of a conversation is forgotten.")
    ] = 86400.0,
    label: Annotated[
        bool, typer.Option(help="End shortened texts with the id of their original.")
    ] = False,
    prices: Annotated[
        str | None,
        typer.Option(help="INPUT,CACHE_READ[,CACHE_WRITE] per million tokens, for the report."),
    ] = None,
) -> None:
    """Serve the context-compression proxy in front of an LLM endpoint."""
    from attar.context import Prices
    from attar.context.proxy import ProxySettings
    from attar.context.proxy import serve as run

    settings = ProxySettings(
        upstream, budget, shadow=shadow, tool_results=tool_results, originals=originals,
        ttl=ttl, label=label, prices=None if prices is None else Prices.parse(prices),
    )  # fmt: skip
    say(f"http://{host}:{port} in front of {upstream}, budget {budget:,} tokens.")
    run(settings, host, port)


def purge_context(
    originals: Annotated[Path, typer.Argument(help="The file of the originals.")],
    conversation: Annotated[
        str | None, typer.Option(help="Only this one: its x-attar-conversation.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="HEADER=VARIABLE",
            help="Only of the caller whose HEADER has the value of this environment variable.",
        ),
    ] = None,
    expired: Annotated[bool, typer.Option(help="Only those whose time is over.")] = False,
) -> None:
    """Forget originals that a proxy has kept in a file; all of them without an option."""
    from attar.context import Originals
    from attar.context.proxy import caller_from

    if not originals.is_file():
        raise ValueError(f"{originals} is not a file of originals; nothing was purged.")
    store = Originals(originals)
    try:
        of = None if key is None else caller_from(key, os.environ)
        say(f"{store.purge(of, conversation, expired):,} originals purged.")
    finally:
        store.close()
