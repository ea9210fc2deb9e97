"""How much each axis of a space moves each objective, as rows of bars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reports.sweep import pareto
from reports.sweep.designs import AXES
from reports.sweep.page_rows import axis_values, label, listed
from reports.sweep.result import Sweep
from reports.sweep.space import machine_axes
from reports.sweep.table import EXACT
from reports.words import number

Indexes = NDArray[np.intp]
Key = tuple[Any, ...]


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
    """The axes of one kind of machine for one objective, the strongest first; `note` names those that have no bar."""

    kind: str
    objective: str
    bars: tuple[Bar, ...]
    note: str


class Axis(NamedTuple):
    """Groups of rows that differ in one axis alone: `row`, its `group` and its value's `code`; a row may be in many."""

    name: str
    row: Indexes
    group: Indexes
    code: Indexes


def sensitivities(sweep: Sweep) -> tuple[Axes, ...]:
    """Over the exact rows, kind of machine by kind: an axis of one kind means nothing to the other one."""
    found = []
    exact = sweep.table["status"] == EXACT
    for kind in dict.fromkeys(sweep.table["kind"][exact].tolist()):
        rows = np.flatnonzero(exact & (sweep.table["kind"] == kind))
        axes = varied(sweep, rows, str(kind))
        for objective in sweep.objectives:
            values = np.asarray(sweep.table[objective.name][rows], np.float64)
            if axes and not np.isnan(values).all():
                of = [_moved(axis, values) for axis in axes]
                name = str(kind).replace("_", " ")
                found.append(Axes(name, label(objective.name), tuple(_bars(of)), _note(axes, of, values)))
    return tuple(found)


def varied(sweep: Sweep, rows: Indexes, kind: str) -> list[Axis]:
    """The axes with several values that the space has for a kind of machine, each with the groups among `rows`.

    A group has rows that agree in all other axes in which both have a value: where there is no teacher there is no
    temperature, and an NxN network has no stride of rows, which must not part them from those that have. So every
    combination that no other one completes is a group; rows that leave some of it empty are in all that they fit.
    Rows without a value of the axis itself are in none.
    """
    networks, row_network = _networks(sweep, rows)
    machines = _machines(sweep, rows, kind)
    names = [*networks, *machines]
    found = []
    for place, name in enumerate(names):
        of_network = {key: values for key, values in networks.items() if key != name}
        of_machine = [values for key, values in machines.items() if key != name]
        own = networks.get(name)
        places = completed(
            list(zip(*of_network.values(), strict=True)) or [()] * (int(row_network.max(initial=-1)) + 1)
        )
        if own is not None:
            places = [[] if own[i] is None else groups for i, groups in enumerate(places)]
        counts = np.array([len(groups) for groups in places], np.intp)[row_network]
        row = np.repeat(np.arange(len(rows)), counts)
        network = np.array([group for i in row_network.tolist() for group in places[i]], np.intp)
        group = _numbered([network, *(values[row] for values in of_machine)])
        code = machines[name][row] if own is None else codes(list(own))[row_network][row]
        found.append(Axis(_told(names, place, len(networks)), row, group, code))
    return found


def completed(keys: Sequence[Key]) -> list[list[int]]:
    """Of every key the numbers of its groups: that of the keys that have a value where it has None, or its own one.

    A group's key is one that no other key completes, that is, equals in all values that it has, and has more.
    """
    filled: dict[tuple[bool, ...], list[Key]] = {}
    for key in dict.fromkeys(keys):
        filled.setdefault(tuple(value is not None for value in key), []).append(key)
    numbers: dict[Key, list[int]] = {}
    count = 0
    for there in sorted(filled, key=sum, reverse=True):
        by_part: dict[Key, list[int]] = {}
        for other, more in filled.items():
            if other != there and all(have or not want for want, have in zip(there, other, strict=True)):
                for key in more:
                    by_part.setdefault(_part(key, there), []).extend(numbers[key])
        for key in filled[there]:
            within = by_part.get(_part(key, there))
            numbers[key] = sorted(set(within)) if within else [count]
            count += not within
    return [numbers[key] for key in keys]


def _part(key: Key, there: tuple[bool, ...]) -> Key:
    return tuple(value for value, wanted in zip(key, there, strict=True) if wanted)


def _networks(sweep: Sweep, rows: Indexes) -> tuple[dict[str, tuple[Any, ...]], Indexes]:
    """Axes of networks by name, a value a network (None where it has none), and the number of each row's network."""
    keys = sweep.table["network_key"]
    first: dict[Any, int] = {}
    number_of = np.array([first.setdefault(key, len(first)) for key in keys[rows].tolist()], np.intp)
    chosen = rows[np.unique(number_of, return_index=True)[1]]
    if not sweep.space.networks.recipe:
        names = tuple(sweep.table["network"][chosen].tolist())
        return ({"network": names} if len(sweep.space.networks.given) > 1 else {}), number_of
    lists, found = sweep.space.networks.lists, {}
    for name in AXES:
        if name in sweep.table.columns:
            values = tuple(None if v == "" or v != v else v for v in sweep.table[name][chosen].tolist())
            # Beside what is asked for also what follows: the N×N networks, and a pacemaker that nobody listens to.
            if len(lists.get(name, ())) > 1 or len(set(values) - {None}) > 1:
                found[name] = values
    return found, number_of


def _machines(sweep: Sweep, rows: Indexes, kind: str) -> dict[str, Indexes]:
    """Axes of the machines of a kind by name, a code a row."""
    groups = [(each.lists, next(iter(each))) for each in sweep.space.machines if each.kind == kind]
    keys = [str(key) for key in sweep.table["machine_key"][rows]]
    return {
        name: codes(axis_values(sweep, name, keys))
        for name in machine_axes(kind)
        if any(len(lists.get(name, ())) > 1 for lists, _ in groups) or len({getattr(m, name) for _, m in groups}) > 1
    }


def _told(names: Sequence[str], place: int, networks: int) -> str:
    """An axis as people read it; where a network's axis is called the same, the machine's says whose it is."""
    told = label(names[place])
    return f"machine: {told}" if place >= networks and told in map(label, names[:networks]) else told


def codes(values: list[Any]) -> Indexes:
    """For every value the number of the first one that equals it; NaN equals NaN."""
    seen: dict[Any, int] = {}
    keys = ("nan" if value != value else value for value in values)
    return np.fromiter((seen.setdefault(key, len(seen)) for key in keys), np.intp, len(values))


def _numbered(columns: Sequence[Indexes]) -> Indexes:
    """A number for every different row of some columns."""
    found: Indexes = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    return found


def _moved(axis: Axis, values: NDArray[np.float64]) -> pareto.Sensitivity:
    """How an objective changes over an axis."""
    return pareto.sensitivity({axis.name: axis.code, "its group": axis.group}, values[axis.row])[0]


def _bars(found: Sequence[pareto.Sensitivity]) -> Iterator[Bar]:
    known = sorted((each for each in found if each.groups), key=lambda each: -each.change)
    longest = max([each.change for each in known] + [1e-12])
    for each in known:
        spread = f"{_percent(each.least)} to {_percent(each.most)}"
        yield Bar(each.axis, _percent(each.change), spread, number(each.groups), round(each.change / longest, 4))


def _note(axes: Sequence[Axis], found: Sequence[pareto.Sensitivity], values: NDArray[np.float64]) -> str:
    """Which axes have no bar, and why: no designs to compare, or a least of 0, of which no change has a share."""
    ones = np.where(np.isnan(values), np.nan, 1.0)
    without = [axis for axis, each in zip(axes, found, strict=True) if not each.groups]
    zero = [axis.name for axis in without if _moved(axis, ones).groups]
    alone = [axis.name for axis in without if axis.name not in zero]
    told = []
    if alone:
        told.append(f"No designs that differ in {listed(alone, 'or')} alone were simulated.")
    if zero:
        told.append(f"The least over {listed(zero, 'or')} is 0, of which no change has a share.")
    return " ".join(told)


def _percent(share: float) -> str:
    return f"{100 * share:,.1f} %" if share < 1 else f"{100 * share:,.0f} %"
