"""How much each axis of a space moves each objective, as rows of bars."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.html import number
from reports.sweep import pareto
from reports.sweep.designs import AXES
from reports.sweep.page_rows import axes_of_machines, axis_values, label
from reports.sweep.result import Sweep
from reports.sweep.table import EXACT


@dataclass(frozen=True)
class Bar:
    """An axis: mean change of the objective over it, its range, the groups it was seen in, its share of the longest."""

    axis: str
    change: str
    range: str
    groups: str
    share: float


@dataclass(frozen=True)
class Axes:
    """The axes of one kind of machine for one objective, the strongest first."""

    kind: str
    objective: str
    bars: tuple[Bar, ...]


def sensitivities(sweep: Sweep) -> tuple[Axes, ...]:
    """Over the exact rows, kind of machine by kind: an axis of one kind means nothing to the other one."""
    found = []
    exact = sweep.table["status"] == EXACT
    for kind in dict.fromkeys(sweep.table["kind"][exact].tolist()):
        rows = np.flatnonzero(exact & (sweep.table["kind"] == kind))
        axes = varied(sweep, rows, str(kind))
        for objective in sweep.objectives:
            of = pareto.sensitivity(axes, np.asarray(sweep.table[objective.name][rows], np.float64)) if axes else ()
            bars = tuple(_bars(list(of)))
            if bars:
                found.append(Axes(str(kind).replace("_", " "), label(objective.name), bars))
    return tuple(found)


def varied(sweep: Sweep, rows: NDArray[np.intp], kind: str) -> dict[str, NDArray[np.intp]]:
    """Axes with more than one value among rows of a kind of machine, by their names as people read them; as codes."""
    names = [name for name in AXES if name in sweep.table.columns] if sweep.space.networks.recipe else ["network"]
    found = {
        label(name): codes(sweep.table[name][rows].tolist())
        for name in (*names, "clock_mhz")
        if name in sweep.table.columns
    }
    keys = [str(key) for key in sweep.table["machine_key"][rows]]
    for axis in axes_of_machines(sweep, [kind]):
        found[label(axis)] = codes(axis_values(sweep, axis, keys))
    return {name: values for name, values in found.items() if values.any()}


def codes(values: list[Any]) -> NDArray[np.intp]:
    """For every value the number of the first one that equals it; NaN equals NaN."""
    seen: dict[Any, int] = {}
    keys = ("nan" if value != value else value for value in values)
    return np.fromiter((seen.setdefault(key, len(seen)) for key in keys), np.intp, len(values))


def _bars(found: list[pareto.Sensitivity]) -> Iterator[Bar]:
    known = sorted((each for each in found if each.groups), key=lambda each: -each.change)
    longest = max([each.change for each in known] + [1e-12])
    for each in known:
        spread = f"{_percent(each.least)} to {_percent(each.most)}"
        yield Bar(each.axis, _percent(each.change), spread, number(each.groups), round(each.change / longest, 4))


def _percent(share: float) -> str:
    return f"{100 * share:,.1f} %" if share < 1 else f"{100 * share:,.0f} %"
