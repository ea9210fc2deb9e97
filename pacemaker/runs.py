"""Commands that train, and those that look at what was trained."""

import shlex
import sys
from pathlib import Path

import typer

from hw.errors import need
from pacemaker.options import (
    Device,
    Json,
    Machines,
    Out,
    RecipeName,
    Run,
    Seed,
    Tensorboard,
    Workers,
    terminal,
)


def codesign(
    recipe: RecipeName = "digits",
    machine: Machines = None,
    out: Out = None,
    seed: Seed = 0,
    workers: Workers = 2,
    device: Device = "cpu",
    tensorboard: Tensorboard = False,
    json: Json = False,
) -> None:
    """The main job: distil, quantise, simulate, generate, compare and report."""
    _need_torch()
    from distill import recipe as recipes
    from distill.run import expected_epochs
    from hw.files import to_json
    from reports import codesign as chain
    from reports import html, progress, tables

    chosen = recipes.load(recipe)
    folder = out or Path("runs") / chosen.name
    console = terminal()
    with progress.bars(console, expected_epochs(chosen)) as tell:
        report = chain.codesign(
            chosen,
            folder,
            machine or chain.MACHINES,
            seed=seed,
            workers=workers,
            device=device,
            tensorboard=tensorboard,
            command=shlex.join(["pacemaker", *sys.argv[1:]]),
            on_progress=tell,
            say=console.print,
        )
    page = html.write(folder)
    if json:
        sys.stdout.write(to_json(report))
    else:
        tables.show_report(terminal(stderr=False), report)
    console.print(f"The report: {page}", soft_wrap=True)


def distill(
    recipe: RecipeName,
    out: Out = None,
    seed: Seed = 0,
    workers: Workers = 2,
    device: Device = "cpu",
    tensorboard: Tensorboard = False,
    json: Json = False,
) -> None:
    """Train a recipe's teacher, pacemakers and students, and quantise the best student; torchrun may start it."""
    _need_torch()
    from distill import parallel
    from distill import recipe as recipes
    from distill.run import expected_epochs
    from distill.run import run as train_all
    from reports import progress, students

    chosen = recipes.load(recipe)
    folder = out or Path("runs") / chosen.name
    console = terminal()
    students.check_traceable(chosen)
    with progress.bars(console, expected_epochs(chosen)) as tell:
        train_all(chosen, folder, seed, workers, tell, device=device, tensorboard=tensorboard)
    if not parallel.is_first():
        return
    console.print("quantising the best student")
    students.make(folder)
    _show_accuracies(folder, json)


def evaluate(run: Run, json: Json = False) -> None:
    """Accuracies of a run: validation and test over seeds, and paired differences against CE and plain KD."""
    _need_torch()
    _show_accuracies(run, json)


def report(run: Run, machine: Machines = None, json: Json = False) -> None:
    """Write a finished run's report again; with --machine on other machines."""
    _need_torch()
    from hw.files import to_json
    from reports import codesign as chain
    from reports import html, tables

    made = chain.report(run, machine, command=shlex.join(["pacemaker", *sys.argv[1:]]))
    page = html.write(run)
    if json:
        sys.stdout.write(to_json(made))
    else:
        tables.show_report(terminal(stderr=False), made)
    typer.echo(f"The report: {page}", err=True)


def _show_accuracies(run: Path, json: bool) -> None:
    from hw.files import to_json
    from reports import students, tables

    rows = students.accuracies(run)
    paired = students.differences(run)
    if json:
        sys.stdout.write(to_json({"accuracies": rows, "paired": paired}))
    else:
        tables.show_accuracies(terminal(stderr=False), str(run), rows)
        tables.show_paired(terminal(stderr=False), paired)


def _need_torch() -> None:
    need("torch", "distill", "this command")
