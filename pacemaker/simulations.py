"""Commands that simulate a network on a machine: cycles, bytes, FIFOs, time."""

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pacemaker.options import Json, NetworkName, terminal

if TYPE_CHECKING:
    from sim.timeline import Span


def simulate(
    network: NetworkName,
    machine: Annotated[
        str | None,
        typer.Option(
            help="A preset such as pipeline-256, zynq-7020 or line-64, or a YAML file; "
            "pipeline-256 if neither it nor a limit is given."
        ),
    ] = None,
    macs: Annotated[
        int | None, typer.Option(help="At most so many multipliers; a budget's own limit gives way.")
    ] = None,
    dsp: Annotated[int | None, typer.Option(help="At most so many DSPs.")] = None,
    bram18: Annotated[int | None, typer.Option(help="At most so many block RAMs of 18 kbit.")] = None,
    energy: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Estimate a frame's energy: horowitz-45nm, scaled-28nm or a YAML file."),
    ] = None,
    json: Json = False,
) -> None:
    """Latency and memory of a network on a machine, or on the fastest pipeline within limits."""
    from hw import accelerator
    from hw.files import to_json
    from hw.passes import executed
    from sim import energy as energies
    from sim.folding import settled
    from sim.run import named
    from sim.run import simulate as run_on

    table = None if energy is None else energies.load(energy)
    chosen, precision = named(network)
    on = accelerator.bounded(machine, macs, dsp, bram18)
    with _notice_of_compiling():
        made = settled(executed(chosen), on, precision)
        result = run_on(chosen, made, precision)
    if table is not None:
        result = energies.priced(result, executed(chosen), made, table, precision)
    if json:
        sys.stdout.write(to_json(result))
        return
    from reports import tables

    tables.show_result(terminal(stderr=False), result)
    if table is not None:
        sys.stdout.write(f"{energies.told(result, table)}\n")


def memory(
    network: NetworkName,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A second network, to be laid beside the first one.")
    ] = None,
    machine: Annotated[str, typer.Option(help="A pipeline's preset or YAML file.")] = "pipeline-256",
    json: Json = False,
) -> None:
    """What every layer keeps, in bits and block RAMs, and how long it waits; of two networks side by side."""
    from hw import accelerator
    from hw.files import to_json
    from reports import memory as tables
    from sim.run import named
    from sim.storage import compare, storage

    on = accelerator.pipeline_machine(machine)
    names = [network] if other is None else [network, other]
    with _notice_of_compiling():
        found = [storage(chosen, on, precision) for chosen, precision in map(named, names)]
    console = terminal(stderr=False)
    if json:
        sys.stdout.write(to_json(found[0] if other is None else compare(*found)))
    elif other is None:
        tables.show_storage(console, found[0])
    else:
        tables.show_comparison(console, compare(*found))


def lines(
    network: NetworkName,
    machine: Annotated[str, typer.Option(help="A line engine's preset or YAML file.")] = "line-64",
    out: Annotated[
        Path | None, typer.Option(help="Draw two frames' rows in line memory (.svg, .png, .pdf), or list them (.json).")
    ] = None,
    json: Json = False,
) -> None:
    """What a line engine's line memory holds, the least that is enough, and an address map of it."""
    from hw.files import to_json, write_json
    from hw.passes import executed
    from reports import lifetimes
    from sim import planner
    from sim.run import named

    on = planner.line_engine(machine)
    given, precision = named(network)
    form = executed(given)
    with _notice_of_compiling():
        planned = planner.plan(form, on, precision)
        found = lifetimes.lines(form, on, planned, precision)
    if out is not None and out.suffix == ".json":
        write_json(out, planned)
    elif out is not None:
        lifetimes.draw(out, planned, on.clock_mhz)
    if json:
        sys.stdout.write(to_json(found))
    else:
        lifetimes.show(terminal(stderr=False), found)


def fifos(
    network: NetworkName,
    machine: Annotated[str, typer.Option(help="A pipeline's preset or YAML file.")] = "pipeline-256",
    out: Annotated[Path | None, typer.Option(help="Write the pipeline with the sized FIFOs to this YAML file.")] = None,
    json: Json = False,
) -> None:
    """The least FIFO depths that keep a pipeline's interval, and the least with which it does not stop."""
    from hw import accelerator
    from hw.files import to_json, write_yaml
    from sim import fifos as sizes
    from sim.run import named, size_fifos

    chosen, precision = named(network)
    made, sizing = size_fifos(chosen, accelerator.pipeline_machine(machine), precision)
    if out is not None:
        write_yaml(out, sizes.with_depths(made, sizing.sized))
    if json:
        sys.stdout.write(to_json(sizing))
        return
    from reports import tables

    tables.show_sizing(terminal(stderr=False), sizing)


def timeline(
    network: NetworkName,
    out: Annotated[Path, typer.Option(help="Trace for Perfetto (.json), or a figure (.svg, .png, .pdf).")],
    machine: Annotated[str, typer.Option(help="A pipeline's preset or YAML file.")] = "pipeline-256",
    frames: Annotated[int, typer.Option(min=1, help="Frames, one behind the other.")] = 1,
    json: Json = False,
) -> None:
    """What every layer does when: working, starved or blocked."""
    from hw import accelerator
    from hw.files import to_json, write_json
    from hw.passes import executed
    from sim import timeline as times
    from sim.folding import settled
    from sim.run import named

    found, precision = named(network)
    form = executed(found)
    made = settled(form, accelerator.pipeline_machine(machine), precision)
    if out.suffix == ".json":
        write_json(out, times.trace(form, made, frames))
    else:
        from reports import timeline as figure

        figure.draw(out, f"{form.name} on {made.name}", times.spans(form, made, frames), made.clock_mhz)
    if json:
        names = {"network": form.name, "machine": made.name, "file": str(out)}
        layers = {name: _cycles(spans) for name, spans in times.spans(form, made, frames).items()}
        sys.stdout.write(to_json({**names, "clock_mhz": made.clock_mhz, "frames": frames, "layers": layers}))
    typer.echo(f"{out}: written", err=True)


def sensor(
    network: NetworkName,
    pixel_mhz: Annotated[float, typer.Option(help="The sensor's pixel clock.")],
    h_blank: Annotated[int, typer.Option(help="Pixel clocks without a pixel after each row.")] = 0,
    v_blank: Annotated[int, typer.Option(help="Rows without pixels after each frame.")] = 0,
    machine: Annotated[str, typer.Option(help="A machine's preset or YAML file.")] = "pipeline-256",
    json: Json = False,
) -> None:
    """Whether a machine keeps up with a sensor that cannot be stalled, and what it would take."""
    from hw import accelerator
    from hw.files import to_json
    from sim.run import named
    from sim.run import watch as watch_sensor

    source = accelerator.Source(pixel_mhz, h_blank, v_blank)
    given, precision = named(network)
    found = watch_sensor(given, accelerator.machine(machine), source, precision)
    sys.stdout.write(to_json(found) if json else f"{found}\n")


def _cycles(spans: Iterable["Span"]) -> dict[str, int]:
    """Cycles that a layer spends in each state."""
    cycles = {"working": 0, "starved": 0, "blocked": 0}
    for state, begin, end in spans:
        cycles[state] += end - begin
    return cycles


@contextmanager
def _notice_of_compiling() -> Iterator[None]:
    """Say in a line that numba compiles, if it does; how long its disk cache takes to answer says nothing."""
    from sim.run import compiling

    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            if compiling():
                typer.echo("compiling the simulator for this machine: once, under 20 s", err=True)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
