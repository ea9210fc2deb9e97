"""Which rows of a sweep are in its page, and their columns in a form that is small as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import Machine
from reports.sweep import columns
from reports.sweep.result import Mask, Sweep
from reports.sweep.table import BOUND, EXACT

FRONT, NEIGHBOUR, OTHER, LOWER_BOUND = "front", "neighbour", "other", "bound"
GROUPS = (FRONT, NEIGHBOUR, OTHER, LOWER_BOUND)
"""What a point of the scatter is; a `bound` was screened out and is drawn where its bounds are."""
MOST_FRONT, MOST_NEIGHBOURS, MOST_OTHERS = 4000, 2000, 5000
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
    """Rows of the table by number, in the page's order, each with its group; and what was left out, in words."""

    rows: NDArray[np.intp]
    groups: tuple[str, ...]
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
    """The front, its neighbours and at most so many others, drawn evenly from those that have figures."""
    on_front = _by_first_objective(sweep, np.flatnonzero(front))
    beside = np.flatnonzero(near & ~front)
    status = sweep.table["status"]
    rest = np.flatnonzero(~front & ~near & ((status == EXACT) | (status == BOUND)))
    random = np.random.default_rng(SEED)
    parts = [_thinned(on_front, MOST_FRONT), _some(random, beside, MOST_NEIGHBOURS), _some(random, rest, others)]
    rows = np.concatenate(parts)
    groups = [FRONT] * len(parts[0]) + [NEIGHBOUR] * len(parts[1])
    groups += [LOWER_BOUND if status[row] == BOUND else OTHER for row in parts[2]]
    told = _told(parts[0], on_front, "on the front") + _told(parts[1], beside, "beside the front", SOME)
    told += _told(parts[2], rest, "others with figures", SOME)
    return Shown(rows, tuple(groups), "; ".join(told))


def detailed(sweep: Sweep, shown: Shown, most: int) -> list[int]:
    """Places of the front's designs in full detail: all of them, or the best by each objective and an even choice."""
    rows = shown.front
    if len(rows) <= most:
        return list(range(len(rows)))
    columns_of = [(sweep.table[o.name][rows] * (1 if o.better == "less" else -1)) for o in sweep.objectives]
    best = {int(np.argmin(values)) for values in columns_of}
    rest = [place for place in range(len(rows)) if place not in best]
    even = np.linspace(0, len(rest) - 1, max(most - len(best), 0)).round().astype(int)
    return sorted(best | {rest[i] for i in even})


def _by_first_objective(sweep: Sweep, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    best = sweep.objectives[0]
    values = sweep.table[best.name][rows]
    return rows[np.argsort(values if best.better == "less" else -values, kind="stable")]


def _thinned(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Evenly spaced ones where there are too many, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]


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
    return [*found, _key_text("status", "exact, or bound where it was screened out"), _key_text("reason", "why")]


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
