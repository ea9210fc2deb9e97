"""A run's student through synthesis: layer by layer beside its estimate, its clock, and whether a part holds it."""

import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from hw import devices, resources, rtl
from hw.accelerator import Budget, LineEngine, Machine, Pipeline
from hw.devices import Device, Fit
from hw.errors import BadInput, DoesNotFit, MissingTool
from hw.files import write_text
from hw.network import OUTPUT, Edge
from hw.resources import Resources
from hw.student import Student, lifted
from hw.student import of_run as load_student
from hw.synth import harness, nextpnr, shapes, yosys
from hw.synth.families import FAMILIES, Counts, family_named
from hw.synth.nextpnr import Timing
from hw.synth.yosys import Synthesis
from reports.whole_tables import show_table
from sim.folding import settled
from sim.run import precision_of

DEFAULT_FAMILY = "xc7"
ROUTED_ON = "ecp5-85"
"""Where a clock is measured if no part is named."""


class LayerRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An engine, or all FIFOs together, or what the top itself holds: synthesised, and estimated where it is one."""

    name: str
    synthesis: Counts | None
    estimate: Counts | None


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `pacemaker synth` answers. Without the tools `measured` or `timing` is None; `note` says so."""

    machine: str
    clock_mhz: float
    family: str
    layers: tuple[LayerRow, ...]
    measured: Resources | None
    estimated: Resources
    timing: Timing | None
    fit: Fit | None
    smaller: str
    log: str
    seconds: float
    note: str


def synth_run(
    run: Path,
    machine: Machine,
    *,
    family: str = "",
    part: str = "",
    fmax: bool = False,
    flat: bool = False,
) -> Report:
    """Synthesise the student of a run on a machine; syntheses are kept in RUN/synth by the hash of the design.

    Raises:
        BadInput: no student, no such family or part, one that has no synthesis, or a synthesis that fails.
    """
    device = devices.device(part) if part else None
    chosen = family_of(family, device, fmax)
    student = lifted(load_student(run))
    pipeline = settled(student.network, machine, precision_of(student))
    if isinstance(pipeline, LineEngine):
        raise BadInput(f"machine {pipeline.name}: synthesis is of a pipeline; take one, or a budget")
    estimated = of_student(student, pipeline, chosen)
    notes: list[str] = []
    made, timing = None, None
    try:
        made, nodes = _synthesised(student, pipeline, chosen, run / "synth", fmax, flat)
    except MissingTool as error:
        notes, nodes = [f"{error}; the estimate stands alone"], {}
    measured = None if made is None else made.resources
    if measured is not None and measured.version != estimated.version:
        notes = [f"the estimate was fitted to pyosys {estimated.version}, {measured.version} is installed"]
    if made is not None and fmax:
        try:
            timing = _routed(made, nodes, device)
        except (MissingTool, BadInput) as error:
            notes.append(f"{error}; the synthesis stands without one")
    estimated = estimated if measured is None else resources.with_error(estimated, measured)
    verdict = None
    if device is not None:
        verdict = devices.fit(
            measured or estimated, device, pipeline.clock_mhz, None if timing is None else timing.fmax_mhz
        )
        if fmax and timing is None:
            verdict = msgspec.structs.replace(verdict, note=f"{verdict.note}; its clock could not be routed")
    return Report(
        machine=pipeline.name,
        clock_mhz=pipeline.clock_mhz,
        family=chosen,
        layers=_layer_rows(student, pipeline, chosen, made, nodes),
        measured=measured,
        estimated=estimated,
        timing=timing,
        fit=verdict,
        smaller="" if verdict is None or not verdict.short or device is None else smaller(student, pipeline, device),
        log="" if made is None else made.log,
        seconds=0.0 if made is None else made.seconds,
        note="; ".join(notes),
    )


def family_of(family: str, device: Device | None, fmax: bool) -> str:
    """The family to synthesise for: as asked, as the part wants it, or where a clock is routed.

    Raises:
        BadInput: they contradict each other.
    """
    wanted = device.counts_of if device else ("ecp5" if fmax else DEFAULT_FAMILY)
    chosen = family_named(family or wanted).name
    if device is not None and chosen != wanted:
        raise BadInput(f"family {chosen}: part {device.name} is counted as {wanted}; leave one of the two out")
    if fmax and chosen != "ecp5":
        raise BadInput(f"family {chosen}: a clock can be routed for ecp5 only; leave --fmax out, or take an ecp5 part")
    if fmax and device is not None and not device.nextpnr:
        routed = ", ".join(name for name, part in devices.devices().items() if part.nextpnr)
        raise BadInput(
            f"part {device.name}: no clock can be routed for it here, only for {routed}; leave --fmax out, or take one "
            "of these"
        )
    return chosen


def of_student(student: Student, pipeline: Pipeline, family: str) -> Resources:
    """The estimate for a student, every width known."""
    precision = precision_of(student)
    bits = (precision.activation_bits, precision.weight_bits)
    return resources.estimate(student.network, pipeline, *bits, family, student)


def smaller(student: Student, pipeline: Pipeline, device: Device) -> str:
    """The largest halving of a design's multipliers with which its estimate fits a part; or that none does."""
    engines = pipeline.engines.values()
    macs = min(sum(engine.pe * engine.simd for engine in engines), device.dsp)
    while macs >= 1:
        budget = Budget(f"pipeline-{macs}", macs, pipeline.clock_mhz, dsp=device.dsp, bram18=device.bram18)
        try:
            folded = settled(student.network, budget, precision_of(student))
        except DoesNotFit as error:
            return f"no folding fits: {error}"
        found = of_student(student, folded, device.counts_of)
        if devices.fit(found, device, pipeline.clock_mhz).fits:
            return f"pipeline-{macs} fits by the estimate ({found.lut:,} LUTs, {found.dsp} DSPs)"
        macs //= 2
    return "no folding fits by the estimate"


def _synthesised(
    student: Student, pipeline: Pipeline, family: str, out: Path, fmax: bool, flat: bool
) -> tuple[Synthesis, dict[str, str]]:
    """The synthesis, and the instance of every layer and edge; `fmax`: as a clock needs it."""
    yosys.version()
    with tempfile.TemporaryDirectory() as temporary:
        design = rtl.write(student, pipeline, Path(temporary))
        sources, top = list(design.sources), "student"
        if fmax:
            write_text(design.folder / "harness.sv", harness.harness(design))
            sources, top = [*sources, "harness.sv"], harness.NAME
        made = yosys.synthesise(
            design.folder, sources, FAMILIES[family], out, top=top, flat=flat, netlist=fmax, keep=(harness.INSTANCE,)
        )
    return made, {**design.nodes, **design.edges}


def _routed(made: Synthesis, nodes: dict[str, str], device: Device | None) -> Timing:
    """The clock, its path told by layers and edges."""
    size = (device or devices.device(ROUTED_ON)).nextpnr
    timing = nextpnr.route(Path(made.log).parent / yosys.NETLIST, size)
    layers = {instance: name for name, instance in nodes.items()}
    return msgspec.structs.replace(timing, through=tuple(layers.get(own, own) for own in timing.through))


def _layer_rows(
    student: Student, pipeline: Pipeline, family: str, made: Synthesis | None, nodes: dict[str, str]
) -> tuple[LayerRow, ...]:
    estimates = {
        name: Counts(each.lut, each.ff, each.dsp, each.weight_bram18 + each.line_bram18)
        for name, each in resources.engine_estimates(shapes.of_student(student), pipeline, family).items()
    }
    layers = [layer.name for layer in student.network.layers]
    edges = [*map(str, student.network.edges), str(Edge(student.network.output.name, OUTPUT))]
    if made is None or made.flat:
        rows = [LayerRow(name, None, estimates[name]) for name in layers]
        return (*rows, LayerRow("FIFOs", None, sum((estimates[edge] for edge in edges), Counts())))
    found = dict(made.parts)
    rows = [LayerRow(name, found.pop(nodes[name]), estimates[name]) for name in layers]
    fifos = sum((found.pop(nodes[edge]) for edge in edges), Counts())
    rows.append(LayerRow("FIFOs", fifos, sum((estimates[edge] for edge in edges), Counts())))
    return (*rows, LayerRow("source, sink and top", sum(found.values(), Counts()), None))


def show(console: Console, report: Report) -> None:
    """The report as a table, and below it what there is to say."""
    table = Table(box=None, header_style="bold", title=f"{report.machine} for {report.family}", title_justify="left")
    table.add_column("layer")
    for name in ("LUT", "FF", "DSP", "BRAM18"):
        table.add_column(name, justify="right")
        table.add_column("est.", justify="right", style="dim")
    for row in report.layers:
        table.add_row(row.name, *_cells(row.synthesis, row.estimate))
    whole = None if report.measured is None else Counts(**report.measured.counts)
    table.add_row("all", *_cells(whole, Counts(**report.estimated.counts)))
    show_table(console, table)
    for line in told(report):
        console.print(line, soft_wrap=True)


def _cells(found: Counts | None, estimated: Counts | None) -> list[str]:
    def text(counts: Counts | None, key: str) -> str:
        return "-" if counts is None else f"{getattr(counts, key):,}"

    return [text(counts, key) for key in ("lut", "ff", "dsp", "bram18") for counts in (found, estimated)]


def told(report: Report) -> list[str]:
    """Sources, clock and verdict, a line each."""
    lines = []
    if report.measured is not None:
        lines.append(f"synthesis by {report.measured.tool} {report.measured.version}; its log is {report.log}")
    error = "" if report.estimated.error is None else f", off by up to {report.estimated.error:.1%} here"
    if report.measured is None and report.estimated.error is not None:
        error = f", off by {report.estimated.error:.1%} on average where it was tested"
    lines.append(f"estimate by a {report.estimated.tool} {report.estimated.version}{error}")
    lines += [report.note] if report.note else []
    lines += [str(report.timing)] if report.timing else []
    lines += [str(report.fit)] if report.fit else []
    return [*lines, report.smaller] if report.smaller else lines
