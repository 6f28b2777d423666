"""`attar vision distill IMAGES --model M --out DIR`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attar.cli.console import say
from attar.cli.progress import progress

if TYPE_CHECKING:
    from attar.vision.phreg.distill import Progress


def distill(
    images: Annotated[Path, typer.Argument(help="A folder of images; no labels.")],
    model: Annotated[str, typer.Option(help="timm:NAME, open_clip:ARCH/WEIGHTS, a folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the student; resumes what it holds.")],
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = 100,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 8,
    registers: Annotated[int, typer.Option(help="Registers of the student.")] = 16,
    views: Annotated[int, typer.Option(help="Views behind a denoised target.")] = 10,
    side: Annotated[int | None, typer.Option(help="Pixels of the square input.")] = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="For CLIP: NACLIP teaches MaskCLIP.")
    ] = False,
    lr: Annotated[float | None, typer.Option(help="First rate; falls to a twentieth.")] = None,
    start: Annotated[str, typer.Option(help="Registers begin: random, patches.")] = "random",
    device: Annotated[str, typer.Option(help="cpu, cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of registers, order and views.")] = 0,
) -> None:
    """Train registers into a vision transformer, so that its dense features are clean (PH-Reg)."""
    from dataclasses import replace

    from attar.vision.phreg.distill import distill as run
    from attar.vision.phreg.recipe import CLIP_RECIPE, DistillRecipe

    recipe = replace(
        CLIP_RECIPE if clip else DistillRecipe(),
        epochs=epochs, batch=batch, m=registers, views=views, start=start, seed=seed,
    )  # fmt: skip
    recipe = recipe if lr is None else replace(recipe, lr=lr, lr_end=lr / 20)
    with progress("Epochs", epochs) as advance:
        done = -1

        def on_step(state: "Progress") -> None:
            nonlocal done
            if state.step + 1 == state.steps:
                advance(state.epoch - done)
                done = state.epoch

        folder = run(images, model, out, recipe, side, on_step, device)
    say(f"{folder}: student with {registers} registers.")
