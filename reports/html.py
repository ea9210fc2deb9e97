"""A run as one page, `report.html`: self-contained, no network, readable by people who build, train or ask.

Python prepares plain rows and sentences here, the template lays them out, `reports.figures` draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.files import write_text
from reports import candidate, figures
from reports.candidate import Candidate, Report, RunRecord
from reports.columns import RESOURCE_COLUMNS, MachineColumns, machines_of
from reports.drawing import Figure
from reports.findings import compared, findings, students_of, undistilled, verdict
from reports.templates import filled
from reports.words import accuracy, change, duration, number, percent, points, source_of
from sim.result import LayerResult, Result

NAME = "report.html"


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


def prepare(report: Report, record: RunRecord) -> Page:
    """Everything that the page shows, as plain rows and sentences."""
    machines = machines_of(report)
    teacher, student = teacher_of(report), student_of(report)
    first = machines[0].name if machines else ""
    return Page(
        report=report,
        record=record,
        verdict=verdict(report, teacher, student, first),
        findings=tuple(findings(report, teacher, student, machines)),
        machines=machines,
        rows=tuple(_row(report, entry, machines) for entry in report.candidates),
        gains=_gains(report),
        figures=_figures(report, teacher, student, machines),
        lines=_lines(teacher, student, first),
        line_totals=tuple(_line_totals(teacher, student, machines)),
        details=tuple(_detail(report, entry, first) for entry in report.candidates),
        compared=compared(report),
        compared_well=report.hls is not None and report.hls.exact,
        teacher=teacher.name if teacher else "",
        student=student.name if student else "",
    )


def teacher_of(report: Report) -> Candidate | None:
    """The first teacher, if there is one."""
    return next((entry for entry in report.candidates if entry.role == "teacher"), None)


def student_of(report: Report) -> Candidate | None:
    """The student that validation chose."""
    return next((entry for entry in report.candidates if entry.name == report.chosen.student), None)


def _gains(report: Report) -> tuple[Gain, ...]:
    plain = undistilled(report)
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
        for entry in students_of(report)
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
        seeds=tuple((seed, percent(a), percent(b)) for seed, a, b in seeds),
        notes=tuple(f"{name}: {note}" for name, r in sorted(entry.results.items()) for note in r.notes),
    )
