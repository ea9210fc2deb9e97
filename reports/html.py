"""A run as one page, `report.html`: self-contained, no network, readable by people who build, train or ask.

Python prepares plain rows and sentences here, the template lays them out, `reports.figures` draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.errors import need
from hw.files import write_text
from hw.resources import Resources
from reports import candidate, figures
from reports.candidate import Accuracy, Candidate, Report, RunRecord
from reports.figures import Figure
from sim.result import LayerResult, Result

NAME = "report.html"
MINUS = "\N{MINUS SIGN}"
MACHINE_COLUMNS = (
    ("latency", "cycles"),
    ("latency", "time"),
    ("interval", "cycles"),
    ("line buffers", "bytes"),
    ("windows", "bytes"),
    ("FIFOs", "bytes"),
    ("all pixels", "bytes"),
    ("weights", "bytes"),
)
ENGINE_COLUMNS = (*MACHINE_COLUMNS, ("DRAM a frame", "bytes"))
RESOURCE_COLUMNS = ("LUT", "FF", "DSP", "BRAM18", "source")


@dataclass(frozen=True)
class MachineColumns:
    """A machine's columns in the table of candidates."""

    name: str
    is_pipeline: bool
    has_resources: bool

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Heads and units."""
        return MACHINE_COLUMNS if self.is_pipeline else ENGINE_COLUMNS

    @property
    def span(self) -> int:
        """How many columns, with those of resources."""
        return len(self.columns) + self.has_resources * len(RESOURCE_COLUMNS)


@dataclass(frozen=True)
class MachineCells:
    """What a row says of a machine: cells, or why there are none."""

    cells: tuple[str, ...]
    resources: tuple[str, ...]
    estimate: str
    unfit: str


@dataclass(frozen=True)
class Row:
    """A candidate in the table."""

    name: str
    role: str
    chosen: bool
    learns_from: str
    bits: str
    validation: str
    test: str
    sizes: tuple[str, ...]
    machines: tuple[MachineCells, ...]


@dataclass(frozen=True)
class Gain:
    """A student beside the one that learns from labels alone."""

    name: str
    learns_from: str
    validation: str
    validation_gain: str
    test: str
    test_gain: str


@dataclass(frozen=True)
class Lines:
    """A layer's line memory in the teacher and in the student."""

    name: str
    teacher: tuple[str, ...]
    student: tuple[str, ...]


@dataclass(frozen=True)
class Detail:
    """A candidate's own section."""

    name: str
    role: str
    text: str
    machine: str
    layers: tuple[LayerResult, ...]
    seeds: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """All that the template lays out."""

    report: Report
    record: RunRecord
    verdict: str
    findings: tuple[str, ...]
    machines: tuple[MachineColumns, ...]
    rows: tuple[Row, ...]
    gains: tuple[Gain, ...]
    figures: tuple[Figure, ...]
    lines: tuple[Lines, ...]
    line_totals: tuple[tuple[str, ...], ...]
    details: tuple[Detail, ...]
    compared: str
    compared_well: bool
    teacher: str
    student: str


def write(folder: Path) -> Path:
    """Write `report.html` from a run's `candidates.json` and `run.json`, and return its path.

    Raises:
        BadInput: the folder has no run, or it cannot be written.
        MissingTool: jinja2 or matplotlib is not installed.
    """
    report, record = candidate.read(folder)
    path = folder / NAME
    write_text(path, render(report, record))
    return path


def render(report: Report, record: RunRecord) -> str:
    """The page as text: the same records give the same text.

    Raises:
        MissingTool: jinja2 or matplotlib is not installed.
    """
    return filled(NAME, page=prepare(report, record), resource_columns=RESOURCE_COLUMNS)


def filled(template: str, **content: object) -> str:
    """A template of `reports/templates` with its content; what is not markup is escaped.

    Raises:
        MissingTool: jinja2 is not installed.
    """
    jinja2 = need("jinja2", "figures", "writing the report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return str(environment.get_template(template).render(**content)) + "\n"


def prepare(report: Report, record: RunRecord) -> Page:
    """Everything that the page shows, as plain rows and sentences."""
    machines = machines_of(report)
    teacher, student = teacher_of(report), student_of(report)
    first = machines[0].name if machines else ""
    return Page(
        report=report,
        record=record,
        verdict=_verdict(report, teacher, student, first),
        findings=tuple(_findings(report, teacher, student, machines)),
        machines=machines,
        rows=tuple(_row(report, entry, machines) for entry in report.candidates),
        gains=_gains(report),
        figures=_figures(report, teacher, student, machines),
        lines=_lines(teacher, student, first),
        line_totals=tuple(_line_totals(teacher, student, machines)),
        details=tuple(_detail(report, entry, first) for entry in report.candidates),
        compared=_compared(report),
        compared_well=report.hls is not None and report.hls.exact,
        teacher=teacher.name if teacher else "",
        student=student.name if student else "",
    )


def machines_of(report: Report) -> tuple[MachineColumns, ...]:
    """All machines of a report: pipelines first, then engines, then those that nothing fits, each by name.

    A line engine is known by its causes of cycles, which a pipeline has not.
    """
    names = sorted({name for entry in report.candidates for name in (*entry.results, *entry.unfit)})
    found = []
    for name in names:
        results = [entry.results[name] for entry in report.candidates if name in entry.results]
        is_pipeline = bool(results) and not any(result.cycles_by_cause for result in results)
        has_resources = any(name in entry.resources for entry in report.candidates)
        found.append((not is_pipeline, not results, MachineColumns(name, is_pipeline, has_resources)))
    return tuple(machine for *_, machine in sorted(found, key=lambda item: item[:2]))


def teacher_of(report: Report) -> Candidate | None:
    """The first teacher, if there is one."""
    return next((entry for entry in report.candidates if entry.role == "teacher"), None)


def student_of(report: Report) -> Candidate | None:
    """The student that validation chose."""
    return next((entry for entry in report.candidates if entry.name == report.chosen.student), None)


def number(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


def accuracy(value: Accuracy) -> str:
    """Mean and standard deviation in per cent; the mean alone where one seed has no deviation."""
    spread = "" if value.deviation is None else f"\u00a0±\u00a0{figures.percent(value.deviation)}"
    return f"{figures.percent(value.mean)}{spread}"


def duration(milliseconds: float) -> str:
    """A time in the unit that reads best."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:,.2f} s"
    return f"{milliseconds:.2f} ms" if milliseconds >= 1 else f"{1000 * milliseconds:.1f} µs"


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, signed."""
    rounded = round(100 * difference, 1)
    return f"+{rounded:.1f}" if rounded > 0 else f"{MINUS}{-rounded:.1f}" if rounded < 0 else "0.0"


def change(before: int, after: int) -> str:
    """A relative change, signed."""
    if before == 0:
        return "±0 %" if after == 0 else "from 0"
    share = round(100 * (after - before) / before)
    return f"+{share} %" if share > 0 else f"{MINUS}{-share} %" if share < 0 else "±0 %"


def _change_of(gain: float) -> str:
    """A student beside the undistilled one, in words and points."""
    told = points(gain)
    return "level with it" if told == "0.0" else f"{'above' if gain > 0 else 'below'} it ({told})"


def _verdict(report: Report, teacher: Candidate | None, student: Candidate | None, machine: str) -> str:
    if student is None:
        return f"The run chose {report.chosen.student}, which is not among its candidates."
    text = f"The best 1×N student by validation, {student.name}, reaches {accuracy(student.test)} % on the test images"
    if teacher is None:
        return text + "."
    text += f", its teacher {accuracy(teacher.test)} %"
    if machine not in teacher.results or machine not in student.results:
        return text + "."
    old, new = teacher.results[machine], student.results[machine]
    return (
        f"{text}; on {machine} it keeps {number(new.line_buffer_bytes)} bytes in line buffers where the teacher keeps "
        f"{number(old.line_buffer_bytes)}, and answers after {number(new.latency_cycles)} cycles instead of "
        f"{number(old.latency_cycles)} ({change(old.latency_cycles, new.latency_cycles)})."
    )


def _findings(
    report: Report, teacher: Candidate | None, student: Candidate | None, machines: Sequence[MachineColumns]
) -> list[str]:
    found = [_about_distillation(report)]
    if teacher and student:
        found += [_about_machine(teacher, student, entry.name) for entry in machines[1:]]
    found += [_about_bits(entry) for entry in report.candidates if entry.role == "quantised student"]
    return [text for text in (*found, _compared(report) + ".") if text]


def _about_distillation(report: Report) -> str:
    """What each student's teachers changed against labels alone, without a claim."""
    plain = _undistilled(report)
    others = [entry for entry in _students(report) if entry is not plain]
    if plain is None or not others:
        return ""
    roles = {entry.name: entry.role for entry in report.candidates}
    told = []
    for entry in others:
        by_teacher = all(roles.get(name) == "teacher" for name in entry.learns_from)
        kind = "by plain distillation" if by_teacher else "with a pacemaker"
        validation, test = entry.validation.mean - plain.validation.mean, entry.test.mean - plain.test.mean
        told.append(f"{entry.name}, {kind}, ends {_change_of(validation)} on validation and {_change_of(test)} on test")
    count = len(report.seeds)
    caution = f"{count} seed{'s' * (count != 1)} these are directions, not results"
    return f"Against the undistilled student {plain.name}, in percentage points: {'; '.join(told)}. With {caution}."


def _about_machine(teacher: Candidate, student: Candidate, machine: str) -> str:
    if machine not in teacher.results or machine not in student.results:
        return ""
    old, new = teacher.results[machine], student.results[machine]
    text = (
        f"On {machine} the student takes {number(new.latency_cycles)} cycles, the teacher {number(old.latency_cycles)} "
        f"({change(old.latency_cycles, new.latency_cycles)})"
    )
    if old.dram_bytes and new.dram_bytes:
        before, after = sum(old.dram_bytes.values()), sum(new.dram_bytes.values())
        text += f"; DRAM traffic is {number(after)} against {number(before)} bytes a frame ({change(before, after)})"
    return text + "."


def _about_bits(entry: Candidate) -> str:
    return (
        f"As {entry.bits}-bit integers ({entry.name}) the student reaches {accuracy(entry.test)} % on the test images."
    )


def _compared(report: Report) -> str:
    """What the HLS C simulation said, or why it said nothing."""
    if report.hls is not None:
        return f"HLS: {report.hls}"
    return f"HLS was not compared: {report.hls_missing}" if report.hls_missing else "HLS was not compared"


def _students(report: Report) -> list[Candidate]:
    return [entry for entry in report.candidates if entry.role == "student"]


def _undistilled(report: Report) -> Candidate | None:
    return next((entry for entry in _students(report) if not entry.learns_from), None)


def _gains(report: Report) -> tuple[Gain, ...]:
    plain = _undistilled(report)
    if plain is None:
        return ()
    return tuple(
        Gain(
            entry.name,
            ", ".join(entry.learns_from) or "labels alone",
            accuracy(entry.validation),
            "" if entry is plain else points(entry.validation.mean - plain.validation.mean),
            accuracy(entry.test),
            "" if entry is plain else points(entry.test.mean - plain.test.mean),
        )
        for entry in _students(report)
    )


def _row(report: Report, entry: Candidate, machines: Sequence[MachineColumns]) -> Row:
    return Row(
        name=entry.name,
        role=entry.role,
        chosen=entry.name == report.chosen.student,
        learns_from=", ".join(entry.learns_from) or "labels",
        bits="float" if entry.bits is None else str(entry.bits),
        validation=accuracy(entry.validation),
        test=accuracy(entry.test),
        sizes=(number(entry.parameters), number(entry.macs), number(entry.executed_macs)),
        machines=tuple(_machine_cells(entry, machine) for machine in machines),
    )


def _machine_cells(entry: Candidate, machine: MachineColumns) -> MachineCells:
    if machine.name not in entry.results:
        return MachineCells((), (), "", entry.unfit.get(machine.name, "not simulated"))
    taken = entry.resources.get(machine.name)
    result = entry.results[machine.name]
    traffic = () if machine.is_pipeline else (number(sum(result.dram_bytes.values())),)
    cells = _cells(result) + traffic
    if not machine.has_resources:
        return MachineCells(cells, (), "", "")
    if taken is None:
        return MachineCells(cells, ("–",) * (len(RESOURCE_COLUMNS) - 1), "–", "")
    counts = (taken.lut, taken.ff, taken.dsp, taken.bram18)
    verdict = entry.fits.get(machine.name)
    told = source_of(taken) if verdict is None else f"{source_of(taken)}; {'fits' if verdict.fits else verdict}"
    return MachineCells(cells, tuple(number(count) for count in counts), told, "")


def _cells(result: Result) -> tuple[str, ...]:
    return (
        number(result.latency_cycles),
        duration(result.latency_ms),
        number(result.interval_cycles),
        number(result.line_buffer_bytes),
        number(result.window_bytes),
        number(result.fifo_bytes),
        number(result.line_memory_bytes),
        number(result.weight_bytes),
    )


def source_of(taken: Resources) -> str:
    """Where resources come from, and how far an estimate is off."""
    error = "error unknown" if taken.error is None else f"error {100 * taken.error:.0f} %"
    return f"{taken.source}: {taken.tool}, {taken.design.upper()}" + (f", {error}" * (taken.source == "estimate"))


def _figures(
    report: Report, teacher: Candidate | None, student: Candidate | None, machines: Sequence[MachineColumns]
) -> tuple[Figure, ...]:
    entries = report.candidates
    pipeline = next((machine.name for machine in machines if machine.is_pipeline), "")
    first = pipeline or (machines[0].name if machines else "")
    pair = [entry for entry in (teacher, student) if entry is not None]
    engines = [machine.name for machine in machines if not machine.is_pipeline]
    drawn = (
        figures.accuracy_against_latency(entries, first),
        figures.memory(entries, first),
        figures.training(entries),
        figures.cycles_by_cause([(entry, name) for name in engines for entry in pair]),
        figures.layer_cycles(student, pipeline) if student else None,
    )
    return tuple(figure for figure in drawn if figure is not None)


def _lines(teacher: Candidate | None, student: Candidate | None, machine: str) -> tuple[Lines, ...]:
    """Line memory by layer, by name; layers of the student alone come last."""
    old, new = _line_bytes(teacher, machine), _line_bytes(student, machine)
    if not old or not new:
        return ()
    names = list(dict.fromkeys((*old, *new)))
    empty = ("–",) * 3
    return tuple(Lines(name, old.get(name, empty), new.get(name, empty)) for name in names)


def _line_bytes(entry: Candidate | None, machine: str) -> dict[str, tuple[str, ...]]:
    if entry is None or machine not in entry.results:
        return {}
    return {
        layer.name: (number(layer.line_buffer_bytes), number(layer.window_bytes), number(layer.fifo_bytes))
        for layer in entry.results[machine].layers
    }


def _line_totals(
    teacher: Candidate | None, student: Candidate | None, machines: Sequence[MachineColumns]
) -> list[tuple[str, ...]]:
    """By machine: line buffers and all pixel memory of teacher and student."""
    totals = []
    for machine in machines:
        if teacher is None or student is None or machine.name not in teacher.results.keys() & student.results.keys():
            continue
        old, new = teacher.results[machine.name], student.results[machine.name]
        counts = (old.line_buffer_bytes, new.line_buffer_bytes, old.line_memory_bytes, new.line_memory_bytes)
        totals.append((machine.name, *(number(count) for count in counts), change(*counts[2:])))
    return totals


def _detail(report: Report, entry: Candidate, machine: str) -> Detail:
    result = entry.results.get(machine)
    seeds = zip(report.seeds, entry.validation.seeds, entry.test.seeds, strict=False)
    return Detail(
        name=entry.name,
        role=entry.role,
        text=entry.text,
        machine=machine,
        layers=result.layers if result else (),
        seeds=tuple((seed, figures.percent(a), figures.percent(b)) for seed, a, b in seeds),
        notes=tuple(f"{name}: {note}" for name, r in sorted(entry.results.items()) for note in r.notes),
    )
