"""What an hls4ml project takes, before and after its FIFOs are sized, and by whose word."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from hw import student
from hw.accelerator import LineEngine, Machine
from hw.errors import BadInput, Deadlock
from hw.hls import Manifest, fifos, reuse, student_project
from hw.hls.backends import AUTO, STREAM, Strategy, backend, check_target, one_sum
from hw.hls.estimate import Bits, equal_bits, estimate, project_depth, student_bits
from hw.hls.passes import prepare
from hw.hls.project import check_folder
from hw.hls.templates import Dataflow, Stream, dataflow
from hw.hls.vendor import VendorReport, synthesise, tool
from hw.network import Network
from hw.passes import executed
from hw.resources import Resources, stream_memory, with_error
from hw.student import Student
from reports.whole_tables import show_table
from sim.folding import settled
from sim.hls_fifos import finishes, size
from sim.result import Precision
from sim.run import precision_of

LATENCIES = (0.5, 1.5, 2.0)
"""How many times the assumed latencies a sizing is tried with."""


class FifoMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """FIFOs of some depth: pixels, bits, and the LUTs and block RAMs of 18 kbit that they are estimated to take."""

    pixels: int
    bits: int
    lut: int
    bram18: int


class LatencyTrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The project's FIFOs where all latencies within processes are `latency` times those assumed.

    `interval_cycles` is None where the design then stops for ever; `unbounded_cycles` that of FIFOs without a limit.
    """

    latency: float
    interval_cycles: int | None
    unbounded_cycles: int

    def __str__(self) -> str:
        if self.interval_cycles is None:
            return f"at {self.latency:g} times it stops for ever"
        slower = self.interval_cycles / self.unbounded_cycles - 1
        return f"at {self.latency:g} times it is {f'{slower:.1%} slower' if slower > 0 else 'not slowed'}"


class HlsFifos(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An hls4ml project's FIFOs by a model of its timing.

    `model` are the least depths by edge "a -> b" that put nothing off, `depths` those with the margin, for `generate`.
    `before` is the memory of hls4ml's own depths, a whole frame each; `after` that of `depths`; `least` of `model`.
    `trials` tell what becomes of `depths` where the assumed latencies are wrong.
    """

    network: str
    margin: float
    latency_cycles: int
    interval_cycles: int
    whole_frames: dict[str, int]
    model: dict[str, int]
    depths: dict[str, int]
    before: FifoMemory
    after: FifoMemory
    least: FifoMemory
    trials: tuple[LatencyTrial, ...]


def hls_fifos(
    what: Student | Network,
    reuse_factors: Mapping[str, int] | None = None,
    strategy: Strategy = AUTO,
    margin: float = fifos.MARGIN,
    precision: Precision = Precision(),
) -> HlsFifos:
    """The FIFO depths of the project of a student (as it is generated) or a network (in the form that hardware runs).

    `precision` is for networks; a student has its own bits.

    Raises:
        BadInput: a reuse factor or margin that cannot be used.
        DoesNotFit: a convolution of more products than are unrolled.
        UnsupportedLayer: a layer that is not generated for HLS.
    """
    flow, bits = _flow(what, reuse_factors, strategy, precision)
    sizing = size(flow)
    wrong = (_flow(what, reuse_factors, strategy, precision, latency)[0] for latency in LATENCIES)
    frames = {stream.edge: stream.pixels for stream in flow.streams if stream.sized}
    depths = {edge: fifos.with_margin(depth, frames[edge], margin) for edge, depth in sizing.depths.items()}
    trials = tuple(_trial(other, latency, depths) for other, latency in zip(wrong, LATENCIES, strict=True))
    # a port has no FIFO, but what hands its pixels on behind it is only made shallow where its edge is named
    depths |= {stream.edge: fifos.PASSING_DEPTH for stream in flow.streams if stream.port and stream.edge}
    return HlsFifos(
        network=flow.network,
        margin=margin,
        latency_cycles=sizing.latency_cycles,
        interval_cycles=sizing.interval_cycles,
        whole_frames=frames,
        model=sizing.depths,
        depths=depths,
        before=_memory(flow.streams, None, bits),
        after=_memory(flow.streams, depths, bits),
        least=_memory(flow.streams, sizing.depths, bits),
        trials=trials,
    )


def hls_resources(
    what: Student | Network,
    depths: Mapping[str, int] | None,
    vendor: VendorReport | None = None,
    reuse_factors: Mapping[str, int] | None = None,
    strategy: Strategy = AUTO,
    precision: Precision = Precision(),
) -> tuple[Resources, ...]:
    """What hls4ml's design takes: the vendor's figures, where there are any, and the estimate with its error by them.

    `depths` are those of the project by edge; None for hls4ml's own.

    Raises:
        PacemakerError: as `hls_fifos`.
    """
    flow, bits = _flow(what, reuse_factors, strategy, precision)
    estimated = estimate(flow, depths, bits)
    if vendor is None:
        return (estimated,)
    return vendor.resources, with_error(estimated, vendor.resources)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a project is made: hls4ml's backend, how data moves, the strategy of convolutions, clock and part.

    `machine` gives every convolution the reuse factor that comes nearest to its folding there; None gives the least.
    FIFOs get `margin` times the depths of the timing model (`hls_fifos`); 0 keeps hls4ml's, a whole frame each.
    """

    backend: str = "Vitis"
    io_type: str = STREAM
    strategy: Strategy = AUTO
    machine: Machine | None = None
    margin: float = fifos.MARGIN
    clock_ns: float = 5.0
    part: str | None = None


DEFAULT = Options()


class HlsReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project: what it says of itself, its FIFOs if they were sized, and what it takes, a row a source.

    Nothing is estimated for io_parallel, which has no streams.
    """

    manifest: Manifest
    fifos: HlsFifos | None
    resources: tuple[Resources, ...]
    vendor: VendorReport | None = None


def make(
    run: Path,
    folder: Path,
    options: Options = DEFAULT,
    *,
    vendor: VendorReport | None = None,
    build: bool = False,
    force: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> HlsReport:
    """Write the student of `run` as an HLS project, its FIFOs sized, and compare its C simulation.

    `vendor` is a report of such a project; with `build` it is made by the vendor's tool, which may take hours.

    Raises:
        PacemakerError: as `hls_fifos` and `hw.hls.student_project`; or a machine that is no pipeline; with
            `build`, as `hw.hls.vendor.tool`, before anything is written.
    """
    made = student.lifted(student.of_run(run))
    check_folder(folder, force)
    backend(options.backend, options.io_type, options.strategy)
    check_target(options.clock_ns, options.part)
    if build:
        tool(options.backend)
    factors = None if options.machine is None else _factors(made, options)
    sizes = None
    if options.margin and options.io_type == STREAM:
        fifos.check_margin(options.margin)
        say("sizing the FIFOs")
        sizes = hls_fifos(made, factors, options.strategy, options.margin)
    project = student_project(
        run,
        folder,
        backend=options.backend,
        io_type=options.io_type,
        strategy=options.strategy,
        fifo_depths=sizes.depths if sizes else None,
        reuse_factors=factors,
        clock_ns=options.clock_ns,
        part=options.part,
        force=force,
        say=say,
    )
    if build:
        vendor = synthesise(folder, backend=options.backend, say=say)
    taken: tuple[Resources, ...] = () if vendor is None else (vendor.resources,)
    if options.io_type == STREAM:
        taken = hls_resources(made, sizes.depths if sizes else None, vendor, factors, options.strategy)
    return HlsReport(project.manifest, sizes, taken, vendor)


def _factors(made: Student, options: Options) -> dict[str, int]:
    assert options.machine is not None
    pipeline = settled(made.network, options.machine, precision_of(made))
    if isinstance(pipeline, LineEngine):
        raise BadInput(f"machine {pipeline.name}: a line engine has no foldings; reuse factors want a pipeline")
    return reuse.from_pipeline(made.network, pipeline, one_sum=one_sum(options.backend, options.io_type))


def show(console: Console, report: HlsReport) -> None:
    """FIFOs, resources, the vendor's timing."""
    if report.fifos is not None:
        show_hls_fifos(console, report.fifos)
    if report.resources:
        show_resources(console, report.resources)
    vendor = report.vendor
    if vendor is not None and vendor.latency_cycles is not None:
        by = "cosimulation" if vendor.simulated else "C synthesis"
        console.print(f"latency {vendor.latency_cycles:,}, interval {vendor.interval_cycles or 0:,} cycles, by {by}")


def show_hls_fifos(console: Console, found: HlsFifos) -> None:
    """FIFO depths edge by edge, and what they take."""
    table = Table(box=None, header_style="bold")
    table.add_column("FIFO", no_wrap=True)
    for heading in ("whole frame", "model", "project"):
        table.add_column(heading, justify="right", no_wrap=True)
    for edge, depth in found.whole_frames.items():
        table.add_row(edge, f"{depth:,}", f"{found.model[edge]:,}", f"{found.depths[edge]:,}")
    memories = (found.before, found.least, found.after)
    for heading, key in (("bits", "bits"), ("block RAMs of 18 kbit", "bram18"), ("LUTs as RAM", "lut")):
        table.add_row(f"all, {heading}", *(f"{getattr(memory, key):,}" for memory in memories))
    show_table(console, table)
    console.print(
        f"latency {found.latency_cycles:,} and interval {found.interval_cycles:,} cycles as with unbounded FIFOs, by a "
        f"model of hls4ml's templates; depths of the project are {found.margin:g} times the model's plus {fifos.MORE}. "
        "C simulation cannot check them, the vendor's cosimulation can"
    )
    told = ", ".join(map(str, found.trials))
    console.print(f"Latencies within a process are assumed; where they are others, by the same depths: {told}")


def show_resources(console: Console, rows: Iterable[Resources]) -> None:
    """A row a source: numbers of different sources or designs are never summed."""
    table = Table(box=None, header_style="bold")
    for heading in ("design", "source", "tool"):
        table.add_column(heading, no_wrap=heading != "tool")
    for heading in ("LUT", "FF", "DSP", "BRAM18", "error"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len("unknown"))
    for row in rows:
        error = "unknown" if row.error is None else f"{row.error:.0%}"
        told = "" if row.source == "vendor" else error
        counts = (f"{number:,}" for number in row.counts.values())
        table.add_row(row.design, row.source, f"{row.tool} {row.version}".strip(), *counts, told)
    show_table(console, table)


def _flow(
    what: Student | Network,
    reuse_factors: Mapping[str, int] | None,
    strategy: Strategy,
    precision: Precision,
    latency: float = 1,
) -> tuple[Dataflow, Bits]:
    if isinstance(what, Student):
        prepared = prepare(what)
        flow = dataflow(what.network, reuse_factors, strategy, prepared.network, latency)
        return flow, student_bits(prepared)
    flow = dataflow(executed(what), reuse_factors, strategy, latency=latency)
    bits = equal_bits(flow.form, precision.activation_bits, precision.weight_bits)
    return flow, bits._replace(activations={name: precision.bits_of(name) for name in bits.activations})


def _trial(flow: Dataflow, latency: float, depths: Mapping[str, int]) -> LatencyTrial:
    free = finishes(flow, {})
    try:
        held = finishes(flow, depths)
    except Deadlock:
        return LatencyTrial(latency, None, int(free[-1] - free[-2]))
    return LatencyTrial(latency, int(held[-1] - held[-2]), int(free[-1] - free[-2]))


def _memory(streams: Iterable[Stream], depths: Mapping[str, int] | None, bits: Bits) -> FifoMemory:
    inner = [stream for stream in streams if not stream.port]
    held = [project_depth(stream, depths) for stream in inner]
    widths = [stream.channels * bits.activations[stream.source] for stream in inner]
    memories = [stream_memory(depth, width) for depth, width in zip(held, widths, strict=True)]
    return FifoMemory(
        pixels=sum(held),
        bits=sum(depth * width for depth, width in zip(held, widths, strict=True)),
        lut=sum(memory.lut for memory in memories),
        bram18=sum(memory.bram18 for memory in memories),
    )
