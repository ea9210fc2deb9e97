"""The command that sweeps a space of networks and machines."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pacemaker.options import Device, Json, Workers, terminal


def sweep(
    space: Annotated[Path | None, typer.Argument(metavar="SPACE", help="A space in YAML (docs/sweeps.md).")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; runs/<space> if left out.")] = None,
    trained: Annotated[
        Path | None, typer.Option(help="Folder of trainings, shared by sweeps; OUT/trained if left out.")
    ] = None,
    workers: Workers = 2,
    device: Device = "cpu",
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Work on a dask cluster, such as tcp://host:8786.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="With --cluster: a training asks for so many GPUs.")] = 0,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Simulate every point, not only those that may be on the front.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to do and how long it takes.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a space, for editors.")] = False,
    json: Json = False,
) -> None:
    """Which network on which machine: train, screen and simulate a space of designs, and report its Pareto front."""
    from hw.errors import BadInput
    from hw.files import to_json
    from reports.sweep import space as spaces

    if schema:
        sys.stdout.write(to_json(spaces.schema()))
        return
    if space is None:
        raise BadInput("sweep: no space was found, a YAML file is wanted, as in examples/; --schema tells its form")
    if gpus and cluster is None:
        raise BadInput("sweep: --gpus is for the workers of a --cluster; --device chooses the one of this machine")
    asked = spaces.load(space)
    from reports.sweep import page, plan, run, watch
    from reports.sweep import terminal as shown
    from reports.sweep.work import Means

    folder = out or Path("runs") / asked.name
    console = terminal()
    if dry_run:
        found = plan.plan(asked, folder, Means(trained, workers))
        if json:
            sys.stdout.write(to_json(found._asdict()))
        else:
            shown.show_plan(terminal(stderr=False), found)
        return
    command = shlex.join(["pacemaker", *sys.argv[1:]])
    with ExitStack() as stack:
        seen = stack.enter_context(watch.watching(console))
        joined = None
        if cluster is not None:
            from reports.sweep.cluster import connect

            joined = stack.enter_context(connect(cluster, gpus=gpus))
        means = Means(trained, workers, device, joined, seen.on_training, seen.on_points, console.print)
        made = run.sweep(asked, folder, means, exhaustive=exhaustive, command=command)
    if json:
        sys.stdout.write(to_json(shown.summary(made)))
    else:
        shown.show(terminal(stderr=False), made)
    console.print(f"The report: {folder / page.NAME}", soft_wrap=True)
