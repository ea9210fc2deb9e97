"""Which rows of a sweep are in its page, and their columns in a form that is small as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import Machine
from reports.sweep import columns, pareto
from reports.sweep.result import Mask, Sweep
from reports.sweep.table import BOUND, EXACT

FRONT, NEIGHBOUR, OTHER, LOWER_BOUND, NETWORK = "front", "neighbour", "other", "bound", "network"
GROUPS = (FRONT, NEIGHBOUR, OTHER, LOWER_BOUND, NETWORK)
"""What a row is: a `bound` was left out and is drawn where its bounds are; a `network` is on no machine."""
MOST_FRONT, MOST_NEIGHBOURS, MOST_OTHERS, MOST_NETWORKS = 4000, 2000, 5000, 1000
SEED = 0
SOME = f"drawn at random with seed {SEED}"
DIGITS = 12
"""Significant digits of a number in the page; the files beside it have all of them."""
PERCENT = ("accuracy", "accuracy_deviation", "test_accuracy")
_SUFFIXES = ("_bytes", "_ms", "_cycles", "_uj", "_mhz")
_LABELS = {
    "n": "filter width N",
    "macs": "MACs",
    "executed_macs": "MACs executed",
    "pe": "PE",
    "simd": "SIMD",
    "dram_bytes_per_cycle": "DRAM bytes a cycle",
    "lut": "LUTs",
    "ff": "flip-flops",
    "dsp": "DSPs",
    "bram18": "block RAMs",
    "dram_bytes": "DRAM a frame",
    "energy_uj": "energy a frame",
    "accuracy": "validation accuracy",
    "accuracy_deviation": "deviation of accuracy",
    "frames_per_second": "frames a second",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """Rows of the table by number, in the page's order, each with its group; and what was left out, in words.

    `firsts` has for every row of the front the place of the first one that is as good in all objectives, itself too.
    """

    rows: NDArray[np.intp]
    groups: tuple[str, ...]
    firsts: tuple[int, ...]
    note: str

    @property
    def front(self) -> NDArray[np.intp]:
        """Those on the front, the best by the first objective first."""
        return self.rows[: self.groups.count(FRONT)]


class ColumnText(msgspec.Struct, frozen=True):
    """A column as the page names it; `share` is drawn in per cent."""

    name: str
    label: str
    unit: str
    better: str
    text: str
    number: bool
    share: bool
    group: str


def choose(sweep: Sweep, front: Mask, near: Mask, others: int = MOST_OTHERS) -> Shown:
    """The front, its neighbours and at most so many others, exact ones rather than bounds; networks on no machine."""
    status, random = sweep.table["status"], np.random.default_rng(SEED)
    rest = ~front & ~near & placed(sweep)
    there = {
        FRONT: np.flatnonzero(front),
        NEIGHBOUR: np.flatnonzero(near & ~front),
        OTHER: np.flatnonzero(rest & (status == EXACT)),
        LOWER_BOUND: np.flatnonzero(rest & (status == BOUND)),
        NETWORK: np.flatnonzero(~placed(sweep)),
    }
    on_front, point = _of_front(sweep, there[FRONT])
    exact = _some(random, there[OTHER], others)
    parts = {
        FRONT: on_front,
        NEIGHBOUR: _some(random, there[NEIGHBOUR], MOST_NEIGHBOURS),
        OTHER: exact,
        LOWER_BOUND: _some(random, there[LOWER_BOUND], others - len(exact)),
        NETWORK: _thinned(there[NETWORK], MOST_NETWORKS),
    }
    groups = tuple(group for group, rows in parts.items() for _ in rows)
    firsts = tuple(np.searchsorted(point, point).tolist())
    return Shown(np.concatenate(list(parts.values())), groups, firsts, _left_out(parts, there))


def placed(sweep: Sweep) -> Mask:
    """Which rows are designs; the others are networks that failed or were dropped before any machine."""
    found: Mask = sweep.table["machine_key"] != ""
    return found


def points(sweep: Sweep, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of every row the number of its objectives among the different ones, the best by the first objective first."""
    values = pareto.falling(sweep.values()[rows], [objective.better for objective in sweep.objectives])
    found: NDArray[np.intp] = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    return found


def detailed(sweep: Sweep, shown: Shown, most: int) -> list[int]:
    """Places of the front's designs in full detail: all of them, or one of those that are as good as each other.

    Of more than `most` of these the best by each objective and an even choice.
    """
    rows, different = shown.front, sorted(set(shown.firsts))
    if len(rows) <= most or len(different) <= most:
        return list(range(len(rows))) if len(rows) <= most else different
    columns_of = [(sweep.table[o.name][rows] * (1 if o.better == "less" else -1)) for o in sweep.objectives]
    best = {int(np.argmin(values)) for values in columns_of}
    rest = [place for place in different if place not in best]
    even = np.linspace(0, len(rest) - 1, max(most - len(best), 0)).round().astype(int)
    return sorted(best | {rest[i] for i in even})


def _of_front(sweep: Sweep, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """At most `MOST_FRONT` of the front's rows, those that are as good side by side, and their points' numbers."""
    point = points(sweep, rows)
    order = np.argsort(point, kind="stable")
    rows, point = rows[order], point[order]
    first = np.diff(point, prepend=-1) > 0
    leads = _thinned(np.flatnonzero(first), MOST_FRONT)
    more = _thinned(np.flatnonzero(~first), MOST_FRONT - len(leads))
    chosen = np.sort(np.concatenate([leads, more]))
    return rows[chosen], point[chosen]


def _thinned(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Evenly spaced ones where there are too many, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]


def _left_out(parts: dict[str, NDArray[np.intp]], there: dict[str, NDArray[np.intp]]) -> str:
    names = {
        FRONT: ("on the front", ""),
        NEIGHBOUR: ("beside the front", SOME),
        OTHER: ("others simulated", SOME),
        LOWER_BOUND: ("left out by their bounds", SOME),
        NETWORK: ("networks on no machine", ""),
    }
    return "; ".join(told for group, words in names.items() for told in _told(parts[group], there[group], *words))


def _some(random: np.random.Generator, rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    if len(rows) <= most:
        return rows
    return np.sort(random.choice(rows, most, replace=False))


def _told(shown: NDArray[np.intp], there: NDArray[np.intp], name: str, drawn: str = "") -> list[str]:
    if not len(there):
        return []
    how = "" if len(shown) == len(there) else f", {drawn or 'evenly spaced'}"
    return [f"{len(shown):,} of {len(there):,} {name}{how}"]


def texts(sweep: Sweep) -> list[ColumnText]:
    """The columns of the page in order: those that the table has, behind the machine's own its axes."""
    found = []
    for group in (columns.NETWORK, columns.MACHINE, columns.FIGURES):
        for column in group:
            if column.name in sweep.table.columns:
                found.append(
                    ColumnText(
                        column.name,
                        label(column.name),
                        "%" if column.name in PERCENT else column.unit,
                        column.better,
                        column.text,
                        column.type == "number",
                        column.name in PERCENT,
                        column.group,
                    )
                )
        if group is columns.MACHINE:
            found += [_axis_text(sweep, axis) for axis in axes_of_machines(sweep)]
    found += [_key_text(name, "content hash") for name in ("network_key", "machine_key")]
    return [*found, _key_text("status", "exact, or bound where it was left out"), _key_text("reason", "why")]


def counted(count: int, name: str) -> str:
    """So many of something: "1 design", "1,005 designs"."""
    return f"{count:,} {name}{'s' * (count != 1)}"


def listed(names: Sequence[str], last: str) -> str:
    """Names in a sentence: "a, b or c", with `last` before the last one."""
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else "".join(names)


def label(name: str) -> str:
    """A column's name as people read it, without its unit."""
    if name in _LABELS:
        return _LABELS[name]
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def axes_of_machines(sweep: Sweep, kinds: Sequence[str] = ("pipeline", "line_engine")) -> tuple[str, ...]:
    """The axes of the machines of a space, each once; the clock has a column of its own."""
    of_kinds = [machines.axes for machines in sweep.space.machines if machines.kind in kinds]
    return tuple(dict.fromkeys(axis for axes in of_kinds for axis in axes if axis != "clock_mhz"))


def axis_values(sweep: Sweep, axis: str, keys: Sequence[str]) -> list[Any]:
    """An axis' value of every machine, None where its kind has no such axis."""
    of = {key: _value(sweep.machines.get(key), axis) for key in set(keys)}
    return [of[key] for key in keys]


def _value(machine: Machine | None, axis: str) -> Any:
    """A field, not a property: a line engine's product of its axes is no axis."""
    if machine is None or axis not in machine.__struct_fields__:
        return None
    value = getattr(machine, axis)
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _axis_text(sweep: Sweep, axis: str) -> ColumnText:
    known = (_value(machine, axis) for machine in sweep.machines.values())
    some = next((value for value in known if value is not None), "")
    unit = "bytes" if axis.endswith("_bytes") else ""
    number = isinstance(some, int | float)
    return ColumnText(f"machine.{axis}", f"machine: {label(axis)}", unit, "", "axis", number, False, "machine")


def _key_text(name: str, text: str) -> ColumnText:
    return ColumnText(name, name.replace("_", " "), "", "", text, False, False, "key")


def payload(sweep: Sweep, shown: Shown) -> dict[str, Any]:
    """The shown rows as columns: `all` values, or the `different` ones and an index `of` each row."""
    table = sweep.table.rows(shown.rows)
    keys = [str(key) for key in table["machine_key"]]
    found: dict[str, Any] = {}
    for text in texts(sweep):
        if text.name.startswith("machine."):
            values = axis_values(sweep, text.name.removeprefix("machine."), keys)
        else:
            values = [number(v) if text.number else str(v) for v in table[text.name]]
        found[text.name] = packed(values)
    return found


def number(value: Any) -> int | float | None:
    """A number as JSON has it: whole ones without a point, none for NaN and infinities."""
    short = float(f"{value:.{DIGITS}g}")
    if not math.isfinite(short):
        return None
    return int(short) if short == int(short) else short


def packed(values: list[Any]) -> dict[str, Any]:
    """Each different value once where that is shorter."""
    different = list(dict.fromkeys(values))
    if 3 * len(different) > len(values):
        return {"all": values}
    index = {value: i for i, value in enumerate(different)}
    return {"different": different, "of": [] if len(different) == 1 else [index[value] for value in values]}
