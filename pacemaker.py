"""The command line: words, flags, exit codes; no logic.

Exit codes: 0 done, 1 a comparison that failed, 2 something that the user can mend (one sentence on stderr), 130 stopped
by Ctrl-C.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hw.errors import Interrupted, PacemakerError, need

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="pacemaker",
    help="Distil a CNN into 1xN filters, simulate it line by line, turn it into hardware, report all of it in one row.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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
FORCE = "Replace a project that is there."


@app.command()
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
    console = _console()
    with progress.bars(console, expected_epochs(chosen)) as tell:
        report = chain.codesign(
            chosen,
            folder,
            machine or chain.MACHINES,
            seed=seed,
            workers=workers,
            device=device,
            tensorboard=tensorboard,
            command=" ".join(["pacemaker", *sys.argv[1:]]),
            on_progress=tell,
            say=console.print,
        )
    page = html.write(folder)
    if json:
        sys.stdout.write(to_json(report))
    else:
        tables.show_report(_console(stderr=False), report)
    console.print(f"The report: {page}", soft_wrap=True)


@app.command()
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
    console = _console()
    students.check_traceable(chosen)
    with progress.bars(console, expected_epochs(chosen)) as tell:
        train_all(chosen, folder, seed, workers, tell, device=device, tensorboard=tensorboard)
    if not parallel.is_first():
        return
    console.print("quantising the best student")
    students.make(folder)
    _show_accuracies(folder, json)


@app.command()
def evaluate(run: Run, json: Json = False) -> None:
    """Accuracies of a run: validation and test over seeds, and paired differences against CE and plain KD."""
    _need_torch()
    _show_accuracies(run, json)


@app.command()
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
    from sim.run import kernel_ready, named
    from sim.run import simulate as run_on

    table = None if energy is None else energies.load(energy)
    chosen, precision = named(network)
    on = accelerator.bounded(machine, macs, dsp, bram18)
    with _notice_of_compiling(lambda: kernel_ready(on)):
        made = settled(executed(chosen), on, precision)
        result = run_on(chosen, made, precision)
    if table is not None:
        result = energies.priced(result, executed(chosen), made, table, precision)
    if json:
        sys.stdout.write(to_json(result))
        return
    from reports import tables

    tables.show_result(_console(stderr=False), result)
    if table is not None:
        sys.stdout.write(f"{energies.told(result, table)}\n")


@app.command()
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
    from sim.run import kernel_ready, named
    from sim.storage import compare, storage

    on = accelerator.pipeline_machine(machine)
    names = [network] if other is None else [network, other]
    with _notice_of_compiling(lambda: kernel_ready(on)):
        found = [storage(chosen, on, precision) for chosen, precision in map(named, names)]
    console = _console(stderr=False)
    if json:
        sys.stdout.write(to_json(found[0] if other is None else compare(*found)))
    elif other is None:
        tables.show_storage(console, found[0])
    else:
        tables.show_comparison(console, compare(*found))


@app.command()
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
    from sim.run import kernel_ready, named

    on = planner.line_engine(machine)
    given, precision = named(network)
    form = executed(given)
    with _notice_of_compiling(lambda: kernel_ready(on)):
        planned = planner.plan(form, on, precision)
        found = lifetimes.lines(form, on, planned, precision)
    if out is not None and out.suffix == ".json":
        write_json(out, planned)
    elif out is not None:
        lifetimes.draw(out, planned, on.clock_mhz)
    if json:
        sys.stdout.write(to_json(found))
    else:
        lifetimes.show(_console(stderr=False), found)


@app.command()
def generate(
    run: Run,
    out: Annotated[Path, typer.Option(help="Folder of the project; it must not exist yet.")],
    target: Annotated[str, typer.Option(help="hls (by hls4ml) or rtl (SystemVerilog, a pipeline of its own).")] = "hls",
    backend: Annotated[str, typer.Option(help="hls4ml's backend: Vitis, Vivado, Quartus or Catapult.")] = "Vitis",
    io: Annotated[str, typer.Option(help="How data moves: io_stream or io_parallel.")] = "io_stream",
    strategy: Annotated[
        str, typer.Option(help="Of convolutions: auto, Latency, Resource or distributed_arithmetic.")
    ] = "auto",
    machine: Annotated[
        str | None, typer.Option(help="Reuse factors by the folding of this pipeline or budget.")
    ] = None,
    macs: Annotated[int | None, typer.Option(help="Reuse factors by a folding of at most so many multipliers.")] = None,
    dsp: Annotated[int | None, typer.Option(help="At most so many DSPs.")] = None,
    bram18: Annotated[int | None, typer.Option(help="At most so many block RAMs of 18 kbit.")] = None,
    fifo_margin: Annotated[
        float, typer.Option(help="FIFO depths are this times the timing model's, plus 2; 0 keeps whole frames.")
    ] = 2.0,
    clock_ns: Annotated[float, typer.Option(help="Period of the clock.")] = 5.0,
    part: Annotated[str | None, typer.Option(help="The FPGA; the backend's usual one if left out.")] = None,
    vendor_report: Annotated[
        Path | None, typer.Option(help="A csynth.xml, a vivado_synth.rpt or the folder of a project that was built.")
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build it with the vendor's tool that is on the PATH.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help=FORCE)] = False,
    json: Json = False,
) -> None:
    """Write a run's student as an HLS project and compare its C simulation with the reference, or as an RTL project."""
    from hw import accelerator
    from hw.files import to_json
    from hw.hls import NO_COMPILER, compiler_available, vendor
    from hw.hls.backends import strategy_named
    from reports import hls, projects

    limited = any(given is not None for given in (machine, macs, dsp, bram18))
    folding = accelerator.bounded(machine, macs, dsp, bram18) if limited else None
    options = hls.Options(
        backend=backend,
        io_type=io,
        strategy=strategy_named(strategy),
        machine=folding,
        margin=fifo_margin,
        clock_ns=clock_ns,
        part=part,
    )
    if projects.target_named(target) == "rtl":
        projects.check_rtl_options(options, vendor_report, build)
        written = projects.rtl_project(run, folding, out, force=force)
        typer.echo(to_json(written) if json else str(written), nl=not json)
        return
    console = _console()
    if not compiler_available():
        console.print(NO_COMPILER)
    told = vendor.read(vendor_report) if vendor_report else None
    report = hls.make(run, out, options, vendor=told, build=build, force=force, say=console.print)
    if json:
        sys.stdout.write(to_json(report))
        return
    hls.show(_console(stderr=False), report)
    typer.echo(f"{out}: {report.manifest.compared or NO_COMPILER}")


@app.command()
def synth(
    run: Run,
    machine: Annotated[str | None, typer.Option(help="A pipeline's or a budget's preset or YAML file.")] = None,
    macs: Annotated[int | None, typer.Option(help="Fold for at most so many multipliers.")] = None,
    part: Annotated[str, typer.Option(help="A part such as zynq-7020 or ecp5-85: does it hold the design?")] = "",
    family: Annotated[str, typer.Option(help="xc7 or ecp5; the part's if left out, else xc7.")] = "",
    fmax: Annotated[bool, typer.Option("--fmax", help="Route it for ECP5 and tell its clock.")] = False,
    flat: Annotated[bool, typer.Option("--flat", help="One flat design, without numbers for each layer.")] = False,
    json: Json = False,
) -> None:
    """Synthesise a run's student: LUTs, flip-flops, DSPs and block RAMs of every layer, beside their estimate."""
    from hw.accelerator import bounded
    from hw.files import to_json
    from reports import synth as synthesis

    on = bounded(machine, macs)
    found = synthesis.synth_run(run, on, family=family, part=part, fmax=fmax, flat=flat)
    if json:
        sys.stdout.write(to_json(found))
    else:
        synthesis.show(_console(stderr=False), found)
    if found.fit is not None and not found.fit.fits:
        sys.exit(1)


@app.command()
def export(
    run: Run,
    out: Annotated[
        Path | None, typer.Option(help="The file; RUN/student.onnx or RUN/student-exact.onnx if left out.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Round and saturate every result as the student does.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a run's student as an ONNX file; with --exact one that gives the integer reference's numbers."""
    from hw import onnx_out
    from hw.files import to_json

    made = onnx_out.export_run(run, out, exact=exact)
    sys.stdout.write(to_json(made) if json else f"{made}\n")


@app.command()
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

    tables.show_sizing(_console(stderr=False), sizing)


@app.command()
def timeline(
    network: NetworkName,
    out: Annotated[Path, typer.Option(help="Trace for Perfetto (.json), or a figure (.svg, .png, .pdf).")],
    machine: Annotated[str, typer.Option(help="A pipeline's preset or YAML file.")] = "pipeline-256",
    frames: Annotated[int, typer.Option(min=1, help="Frames, one behind the other.")] = 1,
) -> None:
    """What every layer does when: working, starved or blocked."""
    from hw import accelerator
    from hw.files import write_json
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
    typer.echo(f"{out}: written", err=True)


@app.command()
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


@app.command()
def cosim(
    run: Run,
    machine: Annotated[str, typer.Option(help="A machine's preset or YAML file.")] = "pipeline-256",
    frames: Annotated[int, typer.Option(help="Test images, a frame each.")] = 3,
    simulator: Annotated[str, typer.Option(help="icarus or verilator.")] = "icarus",
    out: Annotated[Path | None, typer.Option(help="Keep the design and its test bench here.")] = None,
    json: Json = False,
) -> None:
    """Run a run's student in RTL: every cycle against the simulator, every bit against the reference."""
    from hw import accelerator
    from hw.files import to_json
    from sim import cosim as cosimulation
    from sim import cosim_engine

    found, tool = accelerator.machine(machine), cosimulation.simulator_named(simulator)
    verdict: cosimulation.Verdict | cosim_engine.Verdict
    if isinstance(found, accelerator.LineEngine):
        verdict = cosim_engine.check_run(run, found, frames, simulator=tool, out=out)
    else:
        verdict = cosimulation.check_run(run, found, frames, simulator=tool, out=out)
    sys.stdout.write(to_json(verdict) if json else f"{verdict}\n")
    if not verdict.exact:
        sys.exit(1)


@app.command()
def report(run: Run, machine: Machines = None, json: Json = False) -> None:
    """Write a finished run's report again; with --machine on other machines."""
    _need_torch()
    from hw.files import to_json
    from reports import codesign as chain
    from reports import html, tables

    made = chain.report(run, machine, command=" ".join(["pacemaker", *sys.argv[1:]]))
    page = html.write(run)
    if json:
        sys.stdout.write(to_json(made))
    else:
        tables.show_report(_console(stderr=False), made)
    typer.echo(f"The report: {page}", err=True)


def main() -> None:
    """Run a command; what the user can mend becomes one sentence and exit code 2."""
    try:
        app(prog_name="pacemaker")
    except Interrupted as error:
        typer.echo(f"pacemaker: {error}", err=True)
        sys.exit(130)
    except PacemakerError as error:
        typer.echo(f"pacemaker: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("pacemaker: stopped", err=True)
        sys.exit(130)
    except OSError as error:
        typer.echo(f"pacemaker: {error.filename or 'output'}: {error.strerror}", err=True)
        sys.exit(2)


@contextmanager
def _notice_of_compiling(ready: Callable[[], bool]) -> Iterator[None]:
    """Say in a line that numba compiles, if it does: its disk cache answers sooner than that."""

    def tell() -> None:
        if not ready():
            typer.echo("compiling the simulator for this machine: once, under 20 s", err=True)

    timer = threading.Timer(0.7, tell)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _show_accuracies(run: Path, json: bool) -> None:
    from hw.files import to_json
    from reports import students, tables

    rows = students.accuracies(run)
    paired = students.differences(run)
    if json:
        sys.stdout.write(to_json({"accuracies": rows, "paired": paired}))
    else:
        tables.show_accuracies(_console(stderr=False), str(run), rows)
        tables.show_paired(_console(stderr=False), paired)


def _need_torch() -> None:
    need("torch", "distill", "this command")


def _console(*, stderr: bool = True) -> "Console":
    """A console that prints names and paths as they are: a bracket or a colon in them is no markup."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


if __name__ == "__main__":
    main()
