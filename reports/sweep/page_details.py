"""Candidates of a front in full: simulated once more for the page, layer by layer, with what says how to repeat it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw import devices, resources, student
from hw.accelerator import LineEngine, Machine, Pipeline
from hw.errors import PacemakerError
from hw.network import INPUT, Network
from hw.passes import executed
from reports.sweep.page_rows import label, number
from reports.sweep.result import Sweep
from reports.sweep.table import Subject
from reports.words import source_of
from sim import timeline
from sim.folding import settled
from sim.result import LayerResult, Result
from sim.run import simulate
from sim.timeline import Span

MOST = 50
"""Candidates in full detail."""
STEPS = 240
"""Of equal length, into which a timeline is cut."""
CURVE_DIGITS = 5
STATES = {"working": "w", "starved": "s", "blocked": "b"}
NOTHING = "."


class Timeline(msgspec.Struct, frozen=True):
    """What each layer does most in each of `STEPS` steps of the first frame: a letter of `STATES` or `NOTHING`."""

    cycles: int
    layers: dict[str, str]


class Detail(msgspec.Struct, frozen=True):
    """One candidate: `row` by its place in the page, `network` by its key.

    `missing` says why there is no simulation; `differs` which figures are not those of the row, which would be a fault.
    """

    row: int
    network: str
    machine: dict[str, Any]
    command: str
    missing: str = ""
    differs: tuple[str, ...] = ()
    layers: tuple[LayerResult, ...] = ()
    timeline: Timeline | None = None
    bytes: dict[str, int] = {}
    causes: dict[str, int] = {}
    dram: dict[str, int] = {}
    resources: dict[str, int] = {}
    source: str = ""
    fits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def details(sweep: Sweep, rows: NDArray[np.intp], places: Sequence[int], commands: Mapping[int, str]) -> list[Detail]:
    """Some of a page's rows in full: `places` among `rows` (numbers of the table); `commands` by row."""
    return [detail(sweep, int(rows[place]), place, commands.get(int(rows[place]), "")) for place in places]


def detail(sweep: Sweep, row: int, place: int, command: str) -> Detail:
    """One row in full."""
    subject = sweep.subjects.get(str(sweep.table["network_key"][row]))
    machine = sweep.machines.get(str(sweep.table["machine_key"][row]))
    plain = Detail(place, str(sweep.table["network_key"][row]), fields_of(machine), command)
    if subject is None or machine is None:
        return msgspec.structs.replace(plain, missing="its network or its machine was not handed to the page")
    try:
        result = simulate(subject.network, machine, subject.precision)
        return _simulated(sweep, row, plain, subject, machine, result)
    except PacemakerError as error:
        return msgspec.structs.replace(plain, missing=str(error))


def _simulated(sweep: Sweep, row: int, plain: Detail, subject: Subject, machine: Machine, result: Result) -> Detail:
    form = executed(subject.network)
    found: dict[str, Any] = {
        "differs": tuple(differences(sweep, row, result)),
        "layers": result.layers,
        "bytes": {
            "line buffers": result.line_buffer_bytes,
            "windows": result.window_bytes,
            "FIFOs": result.fifo_bytes,
            "all pixels": result.line_memory_bytes,
            "weights": result.weight_bytes,
        },
        "causes": result.cycles_by_cause,
        "dram": result.dram_bytes,
        "notes": result.notes,
    }
    if isinstance(machine, LineEngine):
        found["timeline"] = of_engine(result)
    else:
        pipeline = settled(form, machine, subject.precision)
        found["timeline"] = of_pipeline(form, pipeline)
        taken = estimated(subject, form, pipeline)
        found |= {"resources": taken.counts, "source": source_of(taken)}
        parts = [each.part for each in sweep.space.kept if each.part]
        found["fits"] = tuple(str(devices.fit(taken, devices.device(part), machine.clock_mhz)) for part in parts)
    return msgspec.structs.replace(plain, **found)


def estimated(subject: Subject, form: Network, pipeline: Pipeline) -> resources.Resources:
    """The estimate of a pipeline; with the widths of the student's integers where there is one."""
    made = None if subject.student is None else student.lifted(subject.student)
    bits = subject.precision
    return resources.estimate(
        form, pipeline, bits.activation_bits, bits.weight_bits, student=made, input_bits=bits.input_bits
    )


def differences(sweep: Sweep, row: int, result: Result) -> list[str]:
    """Which of a simulation's figures are not those of the row; none is the rule."""
    found = []
    for name in ("latency_cycles", "interval_cycles", "line_memory_bytes", "multipliers"):
        if name in sweep.table.columns:
            kept, again = sweep.table[name][row], getattr(result, name)
            if not np.isnan(kept) and kept != again:
                found.append(f"{label(name)} {again:,} where the row has {kept:,.0f}")
    return found


def fields_of(machine: Machine | None) -> dict[str, Any]:
    """A machine's fields by name, as plain values; those that are None or empty left out."""
    if machine is None:
        return {}
    plain = msgspec.to_builtins(machine)
    return {key: value for key, value in plain.items() if value not in (None, "", [], {}) and key != "name"}


def of_pipeline(network: Network, pipeline: Pipeline) -> Timeline:
    """The first frame on a pipeline, cut into steps."""
    spans = timeline.spans(network, pipeline)
    end = max(found[-1].end for found in spans.values())
    return Timeline(end, {name: letters(found, end) for name, found in spans.items()})


def of_engine(result: Result) -> Timeline:
    """The first frame on a line engine: from a layer's first cycle to its last one it counts as working."""
    end = max([layer.last_cycle for layer in result.layers] + [1])
    shown = [layer for layer in result.layers if layer.first_cycle >= 0]
    return Timeline(end, {i.name: letters([Span("working", i.first_cycle, i.last_cycle)], end) for i in shown})


def letters(spans: Sequence[Span], end: int, steps: int = STEPS) -> str:
    """For each of equal steps from 0 to `end` cycles the state that takes most of it."""
    edges = np.linspace(0, end, steps + 1)
    covered = np.stack([np.diff(_cycles_before(spans, state, edges)) for state in STATES])
    most = covered.argmax(axis=0)
    busy = covered.sum(axis=0) > 0
    symbols = tuple(STATES.values())
    return "".join(symbols[state] if there else NOTHING for state, there in zip(most, busy, strict=True))


def _cycles_before(spans: Sequence[Span], state: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cycles in a state before each edge; linear between the ends of its spans."""
    ends = np.array([(span.begin, span.end) for span in spans if span.state == state and span.end > span.begin], float)
    if not len(ends):
        return np.zeros(len(edges))
    total = np.concatenate([[0], np.cumsum(ends[:, 1] - ends[:, 0])])
    before: NDArray[np.float64] = np.interp(edges, ends.ravel(), np.column_stack([total[:-1], total[1:]]).ravel())
    return before


def network_of(sweep: Sweep, key: str) -> dict[str, Any]:
    """A network of the page: its text in the form that hardware runs, its columns, its trainings."""
    subject = sweep.subjects.get(key)
    if subject is None:
        return {"text": "", "curves": {}}
    return {
        "text": str(executed(subject.network)),
        "bits": bits_of(subject),
        "curves": curves_of(sweep, key),
    }


def bits_of(subject: Subject) -> str:
    """A network's bits; where a student's layers differ in them, from the least to the most."""
    made = subject.student
    if made is None:
        return str(subject.precision)
    last = made.network.output.name
    pixels = made.formats[INPUT].out.width
    inner = [each.out.width for name, each in made.formats.items() if name not in (INPUT, last)] or [pixels]
    weights = [each.weight.width for each in made.formats.values() if each.weight is not None]
    told = [f"input of {pixels} bits"] if {pixels} != set(inner) else []
    told.append(f"activations of {_range(inner)} bits")
    told += [f"weights of {_range(weights)}"] if weights else []
    return ", ".join([*told, f"logits of {made.formats[last].out.width}"])


def _range(widths: Sequence[int]) -> str:
    least, most = min(widths), max(widths)
    return str(most) if least == most else f"{least} to {most}"


def curves_of(sweep: Sweep, key: str) -> dict[str, Any]:
    """Validation accuracy (0 to 1) and loss by epoch: each seed's, up to the epoch that all of them have."""
    found = sweep.curves.get(key, ())
    epochs = min((len(curve.validation) for curve in found), default=0)
    return {
        "seeds": [curve.seed for curve in found],
        "epochs": epochs,
        "validation": [_rounded(curve.validation[:epochs]) for curve in found],
        "loss": [_rounded(curve.loss[:epochs]) for curve in found],
    }


def _rounded(values: Sequence[float]) -> list[int | float | None]:
    return [number(float(f"{value:.{CURVE_DIGITS}g}")) for value in values]
