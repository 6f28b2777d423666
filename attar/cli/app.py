"""The typer application. Each verb lives in a file of its own and imports its room when it runs."""

import sys

import typer

from attar.cli import (
    archive,
    build_index,
    compare,
    evaluate,
    info,
    maintain,
    plan,
    search,
    serving,
    shrink,
    upgrade,
    vision,
)
from attar.cli.console import fail
from attar.stores.errors import StoreError

app = typer.Typer(
    name="attar",
    help="Retrieval stores, image tokens and long prompts, several times smaller.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("build-index")(build_index.build_index)
app.command("search")(search.search)
app.command("info")(info.info)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("plan")(plan.plan)
app.command("verify")(maintain.verify)
app.command("repair")(maintain.repair)
app.command("backup")(maintain.backup)
app.command("shard")(maintain.shard)
app.command("export")(maintain.export)
app.command("import")(maintain.import_)
app.command("reencode")(maintain.reencode)
app.command("cluster")(maintain.cluster)
app.command("graph")(maintain.graph)
app.command("upgrade")(upgrade.upgrade)
app.command("shrink")(shrink.shrink)
app.command("pack")(archive.pack)
app.command("unpack")(archive.unpack)
app.command("serve")(serving.serve)

context = typer.Typer(help="Shorter prompts in front of an LLM.", no_args_is_help=True)
context.command("serve")(serving.serve_context)
context.command("purge")(serving.purge_context)
app.add_typer(context, name="context")

images = typer.Typer(help="Fewer, cleaner image tokens.", no_args_is_help=True)
images.command("distill")(vision.distill)
app.add_typer(images, name="vision")


def main() -> None:
    """Run, turning every declared error into one line on stderr and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError, TypeError, StoreError) as error:
        sys.exit(fail(error))
    except KeyboardInterrupt:
        sys.exit(fail("Interrupted. The same command continues where it was."))
