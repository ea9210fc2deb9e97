"""One network on many machines: bounds of all figures at once, and exact figures in bulk.

Figures are the columns `reports.sweep.columns.FIGURES`, each exactly as one machine at a time gives it:

- `latency_cycles`, `interval_cycles`, `latency_ms`, `frames_per_second`, `multipliers`, `line_memory_bytes` and
  `weight_bytes` are those of `sim.run.simulate`;
- `on_chip_bytes`: line memory and weights of a pipeline; line memory and weight memory of a line engine as they are
  built, used or not;
- `dram_bytes`: all kinds of a line engine's first frame; 0 of a pipeline, which keeps all but frame and result;
- `energy_uj`: the sum of all parts of `sim.energy`, frame and result from and to DRAM included;
- `lut`, `ff`, `dsp`, `bram18`: `hw.resources.estimate` of a pipeline; NaN of a line engine.

What nobody asked for (`Asked`) is NaN.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import Budget, LineEngine, Machine, Pipeline
from hw.network import Network
from hw.passes import executed
from reports.sweep import lines, pipelines
from reports.sweep.columns import FIGURES
from reports.sweep.keys import machine_key
from reports.sweep.pipelines import Found, Refused
from reports.sweep.table import BOUND, EXACT, FAILED, UNFIT, Subject, Table
from sim import energy
from sim.result import Precision

NAMES = tuple(column.name for column in FIGURES)


class Asked(msgspec.Struct, frozen=True):
    """What is wanted beside cycles and bytes.

    Energy by the table of this name or file, "" for none; resources counted for this family of FPGAs, "" for none.
    """

    energy: str = ""
    family: str = ""


CYCLES = Asked()
"""Nothing beside cycles and bytes."""


def bounds(
    subject: Subject, machines: Sequence[Machine], asked: Asked = CYCLES, keys: Sequence[str] | None = None
) -> Table:
    """Figures that no exact one is below (above, where more is better); `FIGURES` and `KEYS` alone.

    Status is bound, or unfit or failed where that is certain, with the reason. How: `pipelines.bounds`, `lines.bounds`.
    `keys` are the machines' (`reports.sweep.keys.machine_key`), where they are at hand.

    Raises:
        BadInput: no such energy table or family, or one that does not go with the network's bits.
    """
    return _table(subject, machines, asked, keys, BOUND)


def exact(
    subject: Subject, machines: Sequence[Machine], asked: Asked = CYCLES, keys: Sequence[str] | None = None
) -> Table:
    """Exact figures; `FIGURES` and `KEYS` alone.

    Status is exact, or unfit (too small) or failed (not this network's, or it stops for ever) with the reason, which
    calls every machine "at hand".

    Raises:
        BadInput: as `bounds`.
    """
    return _table(subject, machines, asked, keys, EXACT)


def form_of(subject: Subject) -> Network:
    """What hardware runs of it, under one name: networks that differ in nothing else share what is found of them."""
    return msgspec.structs.replace(executed(subject.network), name="the network")


def _table(
    subject: Subject, machines: Sequence[Machine], asked: Asked, keys: Sequence[str] | None, status: str
) -> Table:
    form, table = form_of(subject), energy.load(asked.energy) if asked.energy else None
    found = {name: np.full(len(machines), np.nan) for name in NAMES}
    told = {name: np.full(len(machines), word, object) for name, word in (("status", status), ("reason", ""))}
    is_line = np.array([isinstance(machine, LineEngine) for machine in machines], np.bool_)
    parts = []
    engines = [machine for machine in machines if isinstance(machine, LineEngine)]
    if engines:
        parts.append((is_line, _of_engines(form, subject.precision, engines, table, status)))
    others = [machine for machine in machines if not isinstance(machine, LineEngine)]
    if others:
        wanted = pipelines.Asked(subject.key, table, asked.family, subject.student)
        parts.append((~is_line, _of_pipelines(form, subject.precision, others, wanted, status)))
    for rows, (figures, statuses, reasons) in parts:
        told["status"][rows], told["reason"][rows] = statuses, reasons
        for name, values in figures.items():
            found[name][rows] = values
    clocks = np.array([machine.clock_mhz for machine in machines], np.float64)
    found["latency_ms"] = found["latency_cycles"] / clocks / 1e3
    found["frames_per_second"] = clocks * 1e6 / found["interval_cycles"]
    network_keys = np.full(len(machines), subject.key, object)
    machine_keys = np.array([machine_key(machine) for machine in machines] if keys is None else keys, object)
    return Table({"network_key": network_keys, "machine_key": machine_keys, **told, **found})


_Part = tuple[dict[str, NDArray[np.float64]], NDArray[np.object_], NDArray[np.object_]]
"""Figures by column, statuses and reasons of some machines."""


def _of_engines(
    form: Network, precision: Precision, engines: Sequence[LineEngine], table: energy.Table | None, status: str
) -> _Part:
    made = (lines.bounds if status == BOUND else lines.exact)(form, precision, engines, table)
    statuses = np.where(made.fails, FAILED, np.where(made.reasons == "", status, UNFIT)).astype(object)
    return made.figures, statuses, made.reasons


def _of_pipelines(
    form: Network, precision: Precision, machines: Sequence[Budget | Pipeline], asked: pipelines.Asked, status: str
) -> _Part:
    """Machines that differ in name and clock alone are one."""
    places: dict[bytes, int] = {}
    distinct: list[Budget | Pipeline] = []
    index = np.zeros(len(machines), np.intp)
    for i, machine in enumerate(machines):
        alike = _nameless(machine)
        index[i] = places.setdefault(msgspec.json.encode(alike), len(places))
        if index[i] == len(distinct):
            distinct.append(alike)
    made = (pipelines.bounds if status == BOUND else pipelines.exact)(form, precision, distinct, asked)
    refused = [each if isinstance(each, Refused) else None for each in made]
    figures = {name: np.array([_figure(each, name) for each in made])[index] for name in NAMES}
    words = [status if each is None else FAILED if each.fails else UNFIT for each in refused]
    reasons = ["" if each is None else each.reason for each in refused]
    return figures, np.array(words, object)[index], np.array(reasons, object)[index]


def _nameless(machine: Budget | Pipeline) -> Budget | Pipeline:
    if isinstance(machine, Budget):
        return msgspec.structs.replace(machine, name="at hand", clock_mhz=1.0, source="")
    return msgspec.structs.replace(machine, name="at hand", clock_mhz=1.0)


def _figure(found: Found | Refused, name: str) -> float:
    return float(found.get(name, np.nan)) if isinstance(found, dict) else np.nan
