"""Words and helpers that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
Run = Annotated[Path, typer.Argument(help="Folder of a run.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A preset's name or a YAML file.")]
NetworkName = Annotated[
    str, typer.Argument(metavar="NETWORK", help="Folder of a run, a .onnx file, or a preset such as wrn-40-4-1x3.")
]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; runs/<recipe> if left out.")]
Machines = Annotated[list[str] | None, typer.Option("--machine", help="A preset or a YAML file; may be given again.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first chain of trainings.")]
Workers = Annotated[int, typer.Option(min=1, help="Trainings side by side, one thread each.")]
Device = Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:0, ..., or auto.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Log the epochs for TensorBoard too.")]
LEAST_COLUMNS = 40
PIPED_COLUMNS = 10_000
"""Files and pipes have no edge at which lines would break."""
FORCE = "Replace a project that is there."


def terminal(*, stderr: bool = True) -> "Console":
    """A console that prints names and paths as they are: a bracket or a colon in them is no markup."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPED_COLUMNS
    elif console.width < LEAST_COLUMNS:  # COLUMNS=0, as where a program runs without a terminal
        console.width = LEAST_COLUMNS
    return console
