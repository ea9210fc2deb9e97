"""What 1xN filters change: pairs of networks that differ in their filters, on one machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hw.errors import PacemakerError
from reports.sweep.result import Mask, Sweep
from reports.sweep.table import EXACT, Subject
from reports.words import change, number
from sim.result import Result
from sim.run import simulate

MOST_PAIRS = 12
MOST_TRIES = 8
ALIKE = ("family", "depth", "width", "n", "bits")
"""What the networks of a pair share; the rest of a 1xN network's axes has no meaning for an NxN one."""
MEASURES = (
    ("line buffers", "bytes", "line_buffer_bytes"),
    ("windows", "bytes", "window_bytes"),
    ("FIFOs", "bytes", "fifo_bytes"),
    ("all pixels", "bytes", "line_memory_bytes"),
    ("latency", "cycles", "latency_cycles"),
    ("interval", "cycles", "interval_cycles"),
)


@dataclass(frozen=True)
class Pair:
    """Two networks on a machine: a row a measure, with its unit, NxN, 1xN and the change.

    `common` says how they compare on all machines where both were simulated.
    """

    full: str
    row: str
    machine: str
    cells: tuple[tuple[str, str, str, str, str], ...]
    common: str


def pairs(sweep: Sweep, front: Mask) -> tuple[list[Pair], int]:
    """At most `MOST_PAIRS` of them and how many there are: 1xN networks with designs on the front come first."""
    there = list(_keys(sweep))
    on_front = set(sweep.table["network_key"][front].tolist())
    there.sort(key=lambda pair: pair[1] not in on_front)
    made = (_pair(sweep, front, full, row) for full, row in there)
    return list(islice(filter(None, made), MOST_PAIRS)), len(there)


def _keys(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Keys of an NxN network and of each 1xN network that is like it."""
    full: dict[tuple[object, ...], str] = {}
    row: list[tuple[tuple[object, ...], str]] = []
    for key, subject in sweep.subjects.items():
        filters, alike = _likeness(subject)
        if filters == "full":
            full.setdefault(alike, key)
        elif filters == "row":
            row.append((alike, key))
    yield from ((full[alike], key) for alike, key in row if alike in full)


def _likeness(subject: Subject) -> tuple[str, tuple[object, ...]]:
    """Full or row filters, and what else a network is: by its axes, or for a given one by its layers."""
    filters = subject.columns.get("filters")
    if filters in ("full", "row"):
        return str(filters), tuple(subject.columns.get(name) for name in ALIKE)
    layers = subject.network.layers
    high = any(layer.convolves and layer.kernel.rows > 1 for layer in layers)
    wide = any(layer.convolves and layer.kernel.cols > 1 for layer in layers)
    alike = tuple((each.name, each.kind, each.channels, each.inputs, each.function, each.factor) for each in layers)
    cols = tuple(layer.kernel.cols for layer in layers if layer.convolves)
    return "full" if high else "row" if wide else "", (alike, cols, subject.network.input, subject.precision)


def _pair(sweep: Sweep, front: Mask, full: str, row: str) -> Pair | None:
    """On the first machine that both fit; the NxN network is simulated even where its design was screened out."""
    old, new = sweep.subjects[full], sweep.subjects[row]
    for key in _machines(sweep, front, row)[:MOST_TRIES]:
        machine = sweep.machines[key]
        try:
            results = [simulate(each.network, machine, each.precision) for each in (old, new)]
        except PacemakerError:
            continue
        names = str(old.columns["network"]), str(new.columns["network"])
        return Pair(*names, machine.name, tuple(_cells(*results)), _common(sweep, *_common_rows(sweep, full, row)))
    return None


def _machines(sweep: Sweep, front: Mask, network: str) -> list[str]:
    """Those on which a network was simulated: pipelines first, then where it is on the front, then the fastest.

    A line engine has one memory for what a pipeline has in line buffers, windows and FIFOs.
    """
    table = sweep.table
    rows = np.flatnonzero((table["network_key"] == network) & (table["status"] == EXACT))
    order = np.lexsort((table["latency_ms"][rows], ~front[rows], table["kind"][rows] != "pipeline"))
    return [key for key in map(str, table["machine_key"][rows[order]]) if key in sweep.machines]


def _common_rows(sweep: Sweep, full: str, row: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of both networks on the machines where both are exact, in the same order."""
    table = sweep.table
    exact = table["status"] == EXACT
    olds, news = (np.flatnonzero((table["network_key"] == key) & exact) for key in (full, row))
    _, left, right = np.intersect1d(table["machine_key"][olds], table["machine_key"][news], return_indices=True)
    return olds[left], news[right]


def _cells(old: Result, new: Result) -> Iterator[tuple[str, str, str, str, str]]:
    for name, unit, attribute in MEASURES:
        before, after = getattr(old, attribute), getattr(new, attribute)
        yield name, unit, number(before), number(after), change(before, after)


def _common(sweep: Sweep, olds: NDArray[np.intp], news: NDArray[np.intp]) -> str:
    """Medians and ranges over all common machines."""
    if not len(olds):
        return "In the sweep itself no machine has exact figures of both."
    told = []
    for name, column in (("line memory", "line_memory_bytes"), ("latency", "latency_cycles")):
        ratios = sweep.table[column][news] / np.maximum(sweep.table[column][olds], 1)
        low, median, high = np.quantile(ratios, (0, 0.5, 1))
        told.append(f"{name} {median:.2f} times that of N×N (from {low:.2f} to {high:.2f})")
    count = len(olds)
    where = "On the one machine" if count == 1 else f"Median of the {number(count)} machines"
    return f"{where} where both were simulated: {', '.join(told)}."
