"""The command ``python -m alignsd.miniature.pretraining`` makes the weights that are shipped."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from alignsd.base.errors import Problem
from alignsd.miniature import WEIGHTS
from alignsd.miniature.pretraining.card import write_card
from alignsd.miniature.pretraining.pretrain import STAGES, pretrain


def main(
    out: Annotated[Path, typer.Option(help="folder for the weights")] = WEIGHTS,
    work: Annotated[Path, typer.Option(help="folder for the checkpoints")] = Path("pretraining"),
    stage: Annotated[
        list[str] | None, typer.Option(help="only these stages; all by default")
    ] = None,
    shorten: Annotated[
        float, typer.Option(help="factor on steps and pictures, to try the script")
    ] = 1.0,
    fresh: Annotated[
        bool, typer.Option(help="delete earlier weights and checkpoints first")
    ] = False,
) -> None:
    """Pretrain the miniature's models: an hour and a half on two cores."""
    unknown = set(stage or ()) - set(STAGES)
    if unknown:
        known = ", ".join(STAGES)
        raise typer.BadParameter(f"unknown stage {sorted(unknown)}; known: {known}")
    if fresh:
        for folder in (out, work):
            shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    try:
        card = pretrain(out, work, stage or list(STAGES), shorten)
    except Problem as problem:
        print(problem, file=sys.stderr)
        raise typer.Exit(1) from problem
    is_complete = card["stages"].keys() == STAGES.keys()
    if is_complete and shorten == 1:
        # The card shows pictures of the diffusion model with the judge's verdicts.
        write_card(out)


if __name__ == "__main__":
    typer.run(main)
