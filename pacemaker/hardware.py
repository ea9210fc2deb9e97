"""Commands that turn a run's student into hardware: HLS, RTL, synthesis, ONNX, cosimulation."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pacemaker.options import (
    FORCE,
    Json,
    Run,
    terminal,
)


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
    console = terminal()
    if not compiler_available():
        console.print(NO_COMPILER)
    told = vendor.read(vendor_report) if vendor_report else None
    report = hls.make(run, out, options, vendor=told, build=build, force=force, say=console.print)
    if json:
        sys.stdout.write(to_json(report))
        return
    hls.show(terminal(stderr=False), report)
    typer.echo(f"{out}: {report.manifest.compared or NO_COMPILER}")


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
        synthesis.show(terminal(stderr=False), found)
    if found.fit is not None and not found.fit.fits:
        sys.exit(1)


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
    from sim.rtl_simulators import simulator_named

    found, tool = accelerator.machine(machine), simulator_named(simulator)
    verdict: cosimulation.Verdict | cosim_engine.Verdict
    if isinstance(found, accelerator.LineEngine):
        verdict = cosim_engine.check_run(run, found, frames, simulator=tool, out=out)
    else:
        verdict = cosimulation.check_run(run, found, frames, simulator=tool, out=out)
    sys.stdout.write(to_json(verdict) if json else f"{verdict}\n")
    if not verdict.exact:
        sys.exit(1)
